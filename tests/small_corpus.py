"""A corpus small enough for tests: a folder of Python modules whose docstrings are all different sentences."""

from pathlib import Path

MODULES = ("alpha", "bravo", "charlie", "delta", "echo", "foxtrot", "golf", "hotel", "india", "juliett")
_VERBS = ("Return", "Read", "Write", "Remove", "Check", "Copy", "Open", "Close", "Count", "Find")
_THINGS = ("file", "line", "name", "list", "value", "stream", "record", "token")


def write_small_corpus(folder: Path) -> Path:
    """Ten modules of sixteen documented functions each, with code and comments around them."""
    folder.mkdir(parents=True, exist_ok=True)
    for m, module in enumerate(MODULES):
        parts = [f'"""Everything about {module}: a module that only tests read."""\n\nimport os\n']
        for f in range(16):
            verb, thing = _VERBS[(m + f) % len(_VERBS)], _THINGS[(m * 3 + f) % len(_THINGS)]
            parts.append(
                f"# The {thing} number {f} of {module} is handled here,\n# because nobody else wants to.\n"
                f"def {verb.lower()}_{thing}_{f}(path, limit={f}):\n"
                f'    """{verb} the {thing} of {module} at place {f}.\n\n'
                f'    The {thing} is looked up below path and at most limit entries are read.\n    """\n'
                f"    found = [os.path.join(path, str(i)) for i in range(limit + {m})]\n"
                f"    return found[:limit] if limit else len(found)  # never more than limit\n"
            )
        (folder / f"{module}.py").write_text("\n\n".join(parts), encoding="utf-8")
    return folder
