"""Stand in for a table that the sdist leaves out: arguments that every configuration takes."""

config_common_kwargs = {"output_hidden_states": True, "return_dict": False, "chunk_size_feed_forward": 5}
