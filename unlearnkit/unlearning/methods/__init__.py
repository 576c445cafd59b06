"""The methods, a module each under its name, found by its being here; `unlearning.METHODS` lists them."""

from importlib import import_module
from pkgutil import iter_modules

for _module in iter_modules(__path__):
    import_module(f"{__name__}.{_module.name}")
