"""Go's text/template, as `--format` has it: the same syntax, values, printing and error words.

    Template("{{.State.Status}}").render(value)

Text → `lexer` → tokens → `parser` → `nodes` → `execute` → text. What a template works on is a `Value`: Go's type
beside the JSON that has the data (`values`; the types of what Docker's client shows: `structs`). `functions` are
those of text/template and of Docker's client, `printing` is package fmt. Nothing here does I/O.

Sources: the documentation of Go 1.24's packages text/template and fmt; the words were compared with what docker 28
says (tests/unit/cli/test_template.py).
"""
