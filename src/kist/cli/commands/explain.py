"""kist explain: what the kernel was asked for to make a container, with reasons, and what is the case now."""

from __future__ import annotations

from kist.cli.output import binary_size, ellipsis, human_size, short_id, table
from kist.cli.parser import CliError, Command
from kist.cli.session import said
from kist.client.client import NoServer
from kist.errors import KistError, NotFound

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from kist.cli.parser import Arguments
    from kist.cli.session import Session

    JSON = dict[str, Any]

UNLIMITED = 1 << 62  # version 1's files have a number of pages near 2**63 for it
ACTIONS = {"SCMP_ACT_ALLOW": "allowed", "SCMP_ACT_ERRNO": "refused with an error", "SCMP_ACT_KILL": "deadly",
           "SCMP_ACT_KILL_PROCESS": "deadly", "SCMP_ACT_KILL_THREAD": "deadly to the thread",
           "SCMP_ACT_LOG": "allowed and logged", "SCMP_ACT_TRACE": "shown to a tracer",
           "SCMP_ACT_TRAP": "answered by a signal", "SCMP_ACT_NOTIFY": "decided by a listener"}


def run(args: Arguments, session: Session) -> int:
    found, problems = [], []
    for name in args.words:
        try:
            found.append(_find(session, name))
        except NoServer:
            raise
        except KistError as error:
            problems.append(said(error))
    if args.flag("json"):
        import json

        session.out(json.dumps(found, ensure_ascii=False, indent=4))
    else:
        session.write("\n".join(as_text(one) for one in found))
    if problems:
        raise CliError("\n".join(problems))
    return 0


def _find(session: Session, name: str) -> JSON:
    try:
        return session.client.containers.explain(name)
    except NotFound:
        pass
    try:
        return session.client.images.explain(name)
    except NotFound:
        raise NotFound(f"No such container or image: {name}") from None


def as_text(told: JSON) -> str:
    """The whole page."""
    head, now, plan = (_image if told["kind"] == "image" else _container)(told), told["now"], told["plan"]
    title = "What the kernel was asked for" if now else "What the kernel will be asked for"
    parts = [*head, "", f"{title}, in this order", *_steps(plan["steps"]), ""]
    parts += _now(now, plan) if now else _asked(plan)
    return "\n".join(parts) + "\n"


def _container(told: JSON) -> list[str]:
    now = told["now"]
    state = f"{told['state']}, process {now['pid']} of this machine" if now else told["state"]
    return [f"Container {told['name']} ({short_id(told['id'])}), {state}", f"  image    {told['image']}",
            f"  command  {' '.join(told['command'])}"]


def _image(told: JSON) -> list[str]:
    config = told["config"]
    rows = (("entrypoint", " ".join(config["entrypoint"] or ())), ("command", " ".join(config["cmd"] or ())),
            ("user", config["user"] or "root"), ("directory", config["directory"] or "/"),
            ("ports", " ".join(config["ports"] or ())), ("volumes", " ".join(config["volumes"] or ())),
            ("health", " ".join((config["health"] or {}).get("Test") or ())), ("stopped by", config["stop_signal"]),
            *(("env", entry) for entry in config["env"] or ()))
    lines = [f"Image {', '.join(told['names']) or '<none>'} ({short_id(told['id'])}), {human_size(told['size'])}"]
    lines += [f"  {name:10} {value}" for name, value in rows if value]
    lines += ["", "Layers, the lowest first; a run reads them, and writes above them"]
    return lines + [f"  {short_id(layer['diff_id'])}  {human_size(layer['size']):>8}  {_one_line(layer['made_by'])}"
                    for layer in told["layers"]]


def _shortened(text: str) -> str:
    """Ids of containers in paths as far as people read them."""
    return "/".join(f"{part[:12]}…" if len(part) == 64 and part.isalnum() else part for part in text.split("/"))


def _one_line(text: str, width: int = 80) -> str:
    return ellipsis(" ".join(text.split()), width)


def _steps(steps: list[JSON]) -> list[str]:
    lines = []
    for number, step in enumerate(steps, 1):
        lines += [f"{number:4}  {_one_line(_shortened(step['step']), 110)}", f"      {step['syscall']}: {step['why']}"]
    return lines


def _now(now: JSON, plan: JSON) -> list[str]:
    return ["Its namespaces", *_table([[entry["type"], str(entry["inode"]), entry["why"]]
                                       for entry in now["namespaces"]]),
            "", "Its control group", *_table([_limit(entry) for entry in now["cgroup"]]),
            "", "Its mounts", *_table([[mount["on"], mount["type"], mount["flags"]] for mount in now["mounts"]]),
            "", *_privilege(now["capabilities"]["CapEff"], now["capabilities"]["CapBnd"]),
            "", "Its system calls", *_filter(plan["seccomp"]),
            f"  in force: seccomp mode {now['seccomp']['mode']} ({_mode(now['seccomp']['mode'])}), "
            f"filters: {now['seccomp']['filters'] or 0}; no_new_privs {'on' if now['no_new_privs'] else 'off'}"]


def _mode(mode: str) -> str:
    return {"0": "none", "1": "strict", "2": "filter"}.get(mode, "unknown")


def _asked(plan: JSON) -> list[str]:
    limits = [[name, str(value)] for name, value in plan["limits"].items()]
    return ["Its namespaces", *_table([[entry["type"], entry["path"] or "its own", entry["why"]]
                                       for entry in plan["namespaces"]]),
            "", "Its limits", *(_table(limits) or ["  none but those of the group above it"]),
            "", *_privilege(plan["capabilities"], plan["capabilities"]),
            "", "Its system calls", *_filter(plan["seccomp"])]


def _limit(entry: JSON) -> list[str]:
    name, lines = entry["file"].rpartition("/")[2], entry["limit"].splitlines()
    limit = f"{len(lines)} rules" if len(lines) > 1 else _amount(name, entry["limit"])
    use = f"now {_amount(name, entry['use'])}" if entry["use"] else ""
    return [name, limit, use, _shortened(entry["file"])]


def _amount(file: str, text: str) -> str:
    """As people read it: memory with units, no limit by that word."""
    if text in ("max", "-1") or (text.isdecimal() and int(text) >= UNLIMITED):
        return "no limit"
    if text.isdecimal() and file.startswith("memory."):
        return binary_size(int(text))
    return text or "(empty)"


def _privilege(effective: list[str], bounding: list[str]) -> list[str]:
    lines = [f"Its capabilities: {len(effective)}", *_wrapped(_names(effective))]
    if set(bounding) != set(effective):
        lines += ["  a set-uid program could gain:", *_wrapped(_names(bounding))]
    return lines


def _names(capabilities: list[str]) -> list[str]:
    return [name.removeprefix("CAP_").lower() for name in capabilities] or ["none"]


def _filter(seccomp: JSON) -> list[str]:
    if seccomp["default"] == "none":
        return ["  all are allowed: there is no filter"]
    lines = [f"  {count} {'is' if count == 1 else 'are'} {ACTIONS.get(action, action)}"
             + (", some of them for certain arguments only" if action == "SCMP_ACT_ALLOW" else "")
             for action, count in seccomp["counts"].items()]
    return [*lines, f"  all others are {ACTIONS.get(seccomp['default'], seccomp['default'])}"]


def _table(rows: list[list[str]]) -> list[str]:
    return ["  " + line.rstrip() for line in table(["\t".join(row) for row in rows], least=4, padding=2).splitlines()]


def _wrapped(words: list[str], width: int = 100) -> list[str]:
    lines = [""]
    for word in words:
        if len(lines[-1]) + len(word) > width:
            lines.append("")
        lines[-1] += f" {word}"
    return [f" {line}" for line in lines]


COMMAND = Command(
    "Show step by step what the kernel is asked for to make a container, and what it says now",
    "[OPTIONS] CONTAINER|IMAGE [CONTAINER|IMAGE...]", run, arity=(1, None),
    options=(("json", "", "", "Show all of it, as JSON"),), requests=("KistExplain", "KistExplainImage"))
