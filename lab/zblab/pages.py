"""What the README and the manual show: their commands, and typing them as they stand."""

import os
import re

from .cluster import TOP
from .util import CommandError


def read(path):
    """A file of the project."""
    with open(os.path.join(TOP, path), encoding="utf-8") as file:
        return file.read()


def commands(text):
    """[(host, command, [lines shown below it])] of a text with prompts."""
    out = []
    for line in re.sub(r"\\e\n\s*", "", text).splitlines():
        prompt = re.match(r"(vm\d)# (.*?)(\s+# .*)?$", line)
        if prompt:
            out.append((prompt[1], prompt[2], []))
        elif out and line:
            out[-1][2].append(line)
    return out


def sections(page):
    """{heading: [(host, command, [])]} of a manual page, from its displays with prompts."""
    out = {}
    for section in re.split(r"^\.Sh ", page, flags=re.M)[1:]:
        heading, text = section.split("\n", 1)
        shown = re.findall(r"^\.Bd -literal -offset indent\n(.*?)^\.Ed$", text, flags=re.M | re.S)
        out[heading] = commands("".join(shown))
    return {heading: found for heading, found in out.items() if found}


def block(text, after, begin, end):
    """What stands between two marks, after a heading."""
    return text.split(after, 1)[1].split(begin, 1)[1].split(end, 1)[0]


def shape(line):
    """A line without its figures, the widths of its columns and the time of a step (which a short one lacks)."""
    figures = re.sub(r"(?<![a-z\d])\d+([.:/-]\d+)*[BKMGs]?", "N", re.sub(r"^( \d/9 .*?) +[\d.]+s$", r"\1", line))
    return re.sub(r" +", " ", figures).strip()


class Typist:
    """Types commands on hosts, with what earlier ones printed in place of the words of the text."""

    def __init__(self, lab):
        self.lab = lab
        self.words = {}

    def type(self, host, command, answers=None):
        """One command, on a terminal if it is answered there; the Result."""
        for word in sorted(self.words, key=len, reverse=True):
            command = command.replace(word, self.words[word])
        line = f"cd /root && {command}"
        if answers is None:
            said = self.lab[host].run(line, timeout=300, check=False)
        else:
            said = self.lab[host].type(line, answers)
        if "token create" in command and said.rc == 0:
            self.words["TOKEN"] = said.out.split()[0]
            assert self.words["TOKEN"].startswith("zbt1."), said.out
        return said

    def expect(self, host, command, shown=()):
        """One command that is done; what it prints has the shape of what is shown."""
        said = self.type(host, command)
        if said.rc != 0:
            raise CommandError(host, command, said)
        if shown:
            assert [shape(line) for line in said.out.splitlines()] == [shape(line) for line in shown], said.out

    def joins(self, host, root, address, like):
        """vm3 joins with the commands that another host joined with, and a token of its own."""
        self.expect("vm1", "zbaton token create")
        for _, command, _ in [c for c in like if c[0] == "vm2"]:
            self.expect(host, command.replace("vm2", host).replace("tank/services", root).replace("10.77.0.2", address))


class Walk(Typist):
    """Types the commands of a section of a manual page, each in its turn."""

    def __init__(self, lab, page, heading):
        super().__init__(lab)
        self.left = list(sections(page)[heading])
        self.typed = []

    def next(self, begin, answers=None, rc=(0,)):
        """The next command, which begins like this, and ends with one of these; the Result."""
        self.typed.append(self.left.pop(0))
        return self.again(begin, answers, rc)

    def again(self, begin, answers=None, rc=(0,)):
        """The command that was typed last of those that begin like this."""
        host, command, _ = [c for c in self.typed if c[1].startswith(begin)][-1]
        said = self.type(host, command, answers)
        if said.rc not in rc:
            raise CommandError(host, command, said)
        return said

    def end(self):
        """Nothing is left of the section."""
        assert not self.left, self.left
