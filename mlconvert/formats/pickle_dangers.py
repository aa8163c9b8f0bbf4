"""The names in pickles that can act on the machine.

The list explains a file to a user. It is no sandbox: a name that is not in it may still run code.
"""

from __future__ import annotations

# fmt: off
# Modules from which a model needs nothing, and from which nearly everything acts on the machine.
DANGEROUS_MODULES = frozenset((
    "_ctypes", "_frozen_importlib", "_frozen_importlib_external", "_imp", "_osx_support", "_pickle",
    "_posixsubprocess", "_socket", "_testcapi", "_thread", "asyncio", "bdb", "cProfile", "cloudpickle", "code",
    "codeop", "commands", "ctypes", "dill", "distutils", "doctest", "ensurepip", "fcntl", "ftplib", "gc", "http",
    "imaplib", "imp", "importlib", "inspect", "linecache", "marshal", "mmap", "multiprocessing", "nt", "ntpath",
    "os", "pdb", "pickle", "pip", "pkgutil", "popen2", "poplib", "posix", "posixpath", "profile", "pty",
    "py_compile", "pydoc", "requests", "runpy", "setuptools", "shelve", "shutil", "signal", "site", "smtplib",
    "socket", "socketserver", "ssl", "subprocess", "sys", "sysconfig", "tarfile", "telnetlib", "tempfile",
    "threading", "timeit", "trace", "urllib", "urllib2", "urllib3", "venv", "webbrowser", "xmlrpc", "zipfile",
    "zipimport",
))

# Those that another module's attribute may lead to: `some.module.os.system`.
_REACHED_MODULES = frozenset((
    "builtins", "importlib", "nt", "os", "posix", "pty", "runpy", "shutil", "socket", "subprocess", "sys",
))

# Names in modules that models do use.
DANGEROUS_NAMES = frozenset((
    "_io.FileIO", "_io.open", "builtins.__import__", "builtins.breakpoint", "builtins.compile", "builtins.delattr",
    "builtins.eval", "builtins.exec", "builtins.execfile", "builtins.getattr", "builtins.globals", "builtins.input",
    "builtins.locals", "builtins.open", "builtins.setattr", "builtins.vars", "functools.reduce", "io.FileIO",
    "io.open", "joblib.load", "numpy.load", "numpy.testing._private.utils.runstring", "operator.attrgetter",
    "operator.itemgetter", "operator.methodcaller", "platform.popen", "torch.hub.load", "torch.jit.load",
    "torch.load", "torch.serialization.load", "types.CodeType", "types.FunctionType",
))
# fmt: on


def is_dangerous(name: str) -> bool:
    """True for a global (`module.name`) that can act on the machine, or reach what can."""
    root, *rest = name.split(".")
    # "?": a name that is computed while the pickle is loaded, so that it could be any.
    return root in DANGEROUS_MODULES or root == "?" or name in DANGEROUS_NAMES or not _REACHED_MODULES.isdisjoint(rest)
