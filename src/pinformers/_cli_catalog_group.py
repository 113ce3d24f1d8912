"""The grammar of ``pinformers catalog``, as that of all other commands stands in ``cli``."""

# deferred: every import inside a command, see cli.

from __future__ import annotations

import click

from pinformers._cli_ends import Commands, json_option, leave


@click.group(cls=Commands)
def catalog() -> None:
    """Share pins by signed catalogs."""


@catalog.command("publish")
@click.argument("model", nargs=-1)
@click.option("--key", default="pinformers", show_default=True, help="The Kubo node's key that signs; made if missing.")
@click.option(
    "--lifetime", type=click.FloatRange(min=0, min_open=True, max=876000), default=48, show_default=True,
    metavar="HOURS", help="For how long the signed record counts.",
)  # fmt: skip
@json_option
def publish_catalog(model: tuple[str, ...], key: str, lifetime: float, as_json: bool) -> None:
    """Publish what is pinned, or only each MODEL, through the Kubo node."""
    from pinformers import _cli_catalog

    leave(_cli_catalog.publish(model, key, lifetime, as_json=as_json))


@catalog.command("follow")
@click.argument("name")
@click.option("--as", "label", metavar="LABEL", help="What to call it; by default the end of its name.")
@click.option("--first", is_flag=True, help="Trust it before the others that are followed; by default after them.")
@json_option
def follow_catalog(name: str, label: str | None, first: bool, as_json: bool) -> None:
    """Follow the catalog NAME: k51..., /ipns/k51... or ipns://k51...

    Exits with 1 when its record cannot be had now, or is refused; it is followed all the same.
    """
    from pinformers import _cli_catalog

    leave(_cli_catalog.follow(name, label, first=first, as_json=as_json))


@catalog.command("unfollow")
@click.argument("name")
@json_option
def unfollow_catalog(name: str, as_json: bool) -> None:
    """Follow a catalog no longer; NAME is its label or its IPNS name."""
    from pinformers import _cli_catalog

    leave(_cli_catalog.unfollow(name, as_json=as_json))


@catalog.command("ls")
@json_option
def list_catalogs(as_json: bool) -> None:
    """List the followed catalogs in their order of trust."""
    from pinformers import _cli_catalog

    leave(_cli_catalog.list_followed(as_json=as_json))


@catalog.command("refresh")
@json_option
def refresh_catalogs(as_json: bool) -> None:
    """Fetch the followed catalogs' records now; exits with 1 when one cannot be had or is refused."""
    from pinformers import _cli_catalog

    leave(_cli_catalog.refresh(as_json=as_json))
