"""Whether Java and Go snippets are Java and Go: judged by their own compilers where there are any."""

import re
import shutil
import subprocess
from collections.abc import Iterator, Sequence
from pathlib import Path

from tests.documents.snippets import Snippet

# The compiler's parser alone: the libraries that a snippet names need not be there.
PARSER = """
import javax.tools.*;
import com.sun.source.util.JavacTask;
import java.nio.file.*;
import java.util.*;

class Parse {
    public static void main(String[] files) throws Exception {
        var compiler = ToolProvider.getSystemJavaCompiler();
        var found = new DiagnosticCollector<JavaFileObject>();
        var manager = compiler.getStandardFileManager(found, null, null);
        var sources = manager.getJavaFileObjects(files);
        ((JavacTask) compiler.getTask(null, manager, found, List.of(), null, sources)).parse();
        for (var problem : found.getDiagnostics())
            System.out.println(Path.of(problem.getSource().toUri()).getFileName() + ": " + problem.getMessage(null));
    }
}
"""
TEXT = re.compile(r'"(?:\\.|[^"\\\n])*"|`[^`]*`|//[^\n]*|/\*.*?\*/', re.DOTALL)
PAIRS = {")": "(", "]": "[", "}": "{"}


def problems_in_java(found: Sequence[Snippet], folder: Path) -> list[str]:
    """What javac has against the snippets; without javac, what a look at brackets has."""
    if not shutil.which("javac"):
        return [problem for snippet in found for problem in _unbalanced(snippet)]
    (folder / "Parse.java").write_text(PARSER)
    files = {f"Snippet{number}.java": snippet for number, snippet in enumerate(found)}
    for name, snippet in files.items():
        (folder / name).write_text(snippet.text)
    said = _said(["java", "Parse.java", *files], folder)
    return [f"{files[name].place}: {rest}" for name, _, rest in (line.partition(": ") for line in said if line)]


def problems_in_go(found: Sequence[Snippet], folder: Path) -> list[str]:
    """What gofmt has against the snippets, their form included."""
    if not shutil.which("gofmt"):
        return [problem for snippet in found for problem in _unbalanced(snippet)]
    problems = []
    for snippet in found:
        file = folder / "snippet.go"
        file.write_text(snippet.text)
        said = _said(["gofmt", "-e", "-l", "snippet.go"], folder)
        problems += [f"{snippet.place}: {line}" for line in said]
    return problems


def _said(command: list[str], folder: Path) -> list[str]:
    done = subprocess.run(command, cwd=folder, capture_output=True, text=True, timeout=60, check=False)  # noqa: S603
    return (done.stdout + done.stderr).splitlines()


def _unbalanced(snippet: Snippet) -> Iterator[str]:
    """Brackets that do not match, outside of texts and comments."""
    opened: list[str] = []
    for letter in TEXT.sub("", snippet.text):
        if letter in PAIRS.values():
            opened.append(letter)
        elif letter in PAIRS and (not opened or opened.pop() != PAIRS[letter]):
            yield f"{snippet.place}: {letter} closes nothing"
            return
    if opened:
        yield f"{snippet.place}: {opened[-1]} is not closed"
