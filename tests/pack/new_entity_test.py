"""Runs docs/new-entity.md: writes its files, runs its commands, compares what they print.

new_entity_test.py AON. A line of expected output is compared whole; … in it stands for anything, a line that is … for any number of
lines. "exit status N" after the output: N instead of 0. At the end the pack that was written must be packs/contacts.lua, but for comments."""
import os
import re
import shutil
import subprocess
import sys
import tempfile

ROOT = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))


def blocks(text):
    """(language, arguments, body) of each fenced block."""
    for match in re.finditer(r"^```(\w+)([^\n]*)\n(.*?)^```$", text, re.S | re.M):
        yield match.group(1), match.group(2).split(), match.group(3)


def commands(body):
    """(command, expected lines, status)."""
    found = []
    for line in body.splitlines():
        if line.startswith("$ "):
            found.append((line[2:], [], [0]))
        elif line.startswith("exit status "):
            found[-1][2][0] = int(line.split()[-1])
        else:
            found[-1][1].append(line)
    return found


def matches(expected, printed):
    pattern = ""
    for line in expected:
        if line == "…":
            pattern += r"(?:[^\n]*\n)*"
        else:
            pattern += ".*".join(re.escape(piece) for piece in line.split("…")) + r"\n"
    return re.fullmatch(pattern, printed) is not None


def without_comments(lua):
    return "\n".join(line for line in lua.splitlines() if line.strip() and not line.startswith("--"))


class Guide:
    def __init__(self, aon, folder):
        self.folder = folder
        self.where = os.path.join(folder, "where")
        self.env = dict(os.environ, PATH=os.path.dirname(os.path.abspath(aon)) + ":" + os.environ["PATH"])
        for name in [name for name in self.env if name.startswith("AON_") and name != "AON_SHARED"]:
            del self.env[name]

    def write(self, name, how, body):
        path = os.path.join(self.folder, name)
        old = open(path, encoding="utf-8").read() if how else ""
        if how == ["prepend"]:
            body += old
        elif how == ["after", "columns"]:
            body = re.sub(r"^      \},\n", lambda end: end.group(0) + body, old, count=1, flags=re.M)
        with open(path, "w", encoding="utf-8") as out:
            out.write(body)

    def run(self, command, expected, status):
        # A command may change the folder, so each says where it ends.
        script = f"{command}\nstatus=$?\npwd > {self.where}\nexit $status"
        done = subprocess.run(["sh", "-c", script], cwd=self.folder, env=self.env, text=True, timeout=50, stdout=subprocess.PIPE, stderr=subprocess.STDOUT)
        with open(self.where, encoding="utf-8") as where:
            self.folder = where.read().strip()
        if done.returncode != status or not matches(expected, done.stdout):
            sys.exit(f"$ {command}\nexpected {status} and\n" + "\n".join(expected) + f"\n\ngot {done.returncode} and\n{done.stdout}")

    def follow(self, text):
        count = 0
        for language, arguments, body in blocks(text):
            if language == "console":
                for command, expected, status in commands(body):
                    self.run(command, expected, status[0])
                    count += 1
            elif arguments:
                self.write(arguments[0], arguments[1:], body)
        return count


def main():
    if not shutil.which("sqlite3"):
        print("skipped: new-entity.md: the program sqlite3 is not installed")
        sys.exit(77)
    with open(os.path.join(ROOT, "docs/new-entity.md"), encoding="utf-8") as source:
        text = source.read()
    with tempfile.TemporaryDirectory() as folder:
        guide = Guide(sys.argv[1], folder)
        count = guide.follow(text)
        written = open(os.path.join(guide.folder, "contacts.lua"), encoding="utf-8").read()
    shipped = open(os.path.join(ROOT, "packs/contacts.lua"), encoding="utf-8").read()
    if without_comments(written) != without_comments(shipped):
        sys.exit("the pack of the guide is not packs/contacts.lua")
    print(f"{count} commands of docs/new-entity.md did what it says")


if __name__ == "__main__":
    main()
