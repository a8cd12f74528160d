"""One thin wrapper per system call, under its man-page name.

Every wrapper raises ``OSError(errno, text, path)``; none of them decides anything. The modules here are
loaded by the launcher (``python -I -S``), so they import a short list of the standard library only.
"""
