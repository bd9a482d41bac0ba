"""Reads commands and their output from a documentation page, and compares the output of a run.

Numbers, ids, times and names of people may differ; a line `...` stands for any number of lines. A line of JSON may be wrapped: it goes
on in lines that begin with four blanks.
"""

import re
import subprocess

BLOCK = re.compile(r"^```console\n(.*?)^```", re.M | re.S)
# The continuation of a line of JSON.
WRAPPED = re.compile(r" {4}\S")
# Escape sequences of terminals.
CONTROL = re.compile(r"\x1b(\[[0-9;?]*[A-Za-z]|[78])")
# Values that differ from run to run, longest first.
VARIES = [
    (re.compile(r"\([0-9.]+[a-zµ]+\)"), "(#)"),
    (re.compile(r"(chat|connector)-server-\d+"), r"\1-server-#"),
    (re.compile(r"Container \S+?-(gate|connector|chat|nats)\b"), r"Container \1"),
    (re.compile(r"\[([0-9, ]+)\]"), "[#]"),
    (re.compile(r"(hex:|00-)[0-9a-f]+(-[0-9a-f]+-01)?"), r"\1#"),
    (re.compile(r"(ann|bob)_[0-9a-f]+"), "name"),
    (re.compile(r"\d[\d,.:]*"), "#"),
    (re.compile(r"#( (B|KiB|MiB))"), "#"),
    (re.compile(r" {2,}"), " "),
]


def steps(text):
    """Commands with the lines that are to follow each."""
    for block in BLOCK.findall(text):
        command, lines = None, []
        for line in block.splitlines():
            if line.startswith("$ "):
                if command:
                    yield command, lines
                command, lines = line[2:], []
            elif WRAPPED.match(line) and lines and lines[-1].startswith("{"):
                lines[-1] += line.strip()
            else:
                lines.append(line)
        yield command, lines


def run(command, directory, within_secs):
    """Exit code and lines that a command prints within its time; the code is None after a timeout."""
    pipes = {"stdin": subprocess.DEVNULL, "capture_output": True, "encoding": "utf-8", "errors": "replace"}
    try:
        done = subprocess.run(["bash", "-c", command], cwd=directory, timeout=within_secs, check=False, **pipes)
        return done.returncode, (done.stderr + done.stdout).splitlines()
    except subprocess.TimeoutExpired as late:
        return None, [f"no end within {within_secs} s", *(late.stdout or b"").decode(errors="replace").splitlines()]


def shape(line):
    """The line without values that vary. Of JSON only the first keys count: entries differ from run to run."""
    line = re.sub(r"^\d\d:\d\d:\d\d ", "", CONTROL.sub("", line).strip())
    if line.startswith("{"):
        found = re.match(r'\{"v":\d+,"(connector|chat|prev)".*?("(question|answer)":\{?"\w+"|"owner")', line)
        return found[1] + found[2] if found else line
    for pattern, rest in VARIES:
        line = pattern.sub(rest, line)
    return line


def missing(wanted, printed):
    """The first wanted line that is not among the printed ones, in this order and next to each other where there is no `...`;
    None if all are."""
    at, free = 0, True
    for line in wanted:
        if line == "...":
            free = True
            continue
        found = next((i for i in range(at, len(printed)) if shape(printed[i]) == shape(line)), None)
        if found is None or (found > at and not free and any(p.strip() for p in printed[at:found])):
            return line
        at, free = found + 1, False
    return None
