"""Settings that come from a YAML file and may be overridden by the environment: wiring and policies."""

from pathlib import Path
from typing import Any, TypeVar

import yaml
from pydantic import ValidationError
from pydantic_settings import BaseSettings, PydanticBaseSettingsSource


class SettingsFileError(ValueError):
    """A settings file is missing or wrong; the message names the file and every wrong key."""


class PolicyError(SettingsFileError):
    """A policy file cannot be used."""


class FileSettings(BaseSettings):
    """Precedence: environment over file; pydantic-settings' own default is the other way round."""

    @classmethod
    def settings_customise_sources(
        cls,
        settings_cls: type[BaseSettings],
        init_settings: PydanticBaseSettingsSource,
        env_settings: PydanticBaseSettingsSource,
        dotenv_settings: PydanticBaseSettingsSource,
        file_secret_settings: PydanticBaseSettingsSource,
    ) -> tuple[PydanticBaseSettingsSource, ...]:
        """What the file says arrives as the constructor's arguments."""
        del settings_cls, dotenv_settings, file_secret_settings
        return env_settings, init_settings


Loaded = TypeVar("Loaded", bound=FileSettings)


def load_settings(
    model: type[Loaded], path: Path, what: str, error_type: type[SettingsFileError] = SettingsFileError
) -> Loaded:
    """Read `path` (YAML) as `model`; `what` names the kind of file in errors. Raises `error_type`."""
    try:
        content: Any = yaml.safe_load(path.read_text(encoding="utf-8"))
    except (OSError, yaml.YAMLError) as error:
        raise error_type(f"{what} file {path} cannot be read: {error}") from error
    if not isinstance(content, dict):
        raise error_type(f"{what} file {path} must hold a mapping at its top")
    try:
        return model(**content)
    except ValidationError as error:
        problems = "; ".join(
            f"{'.'.join(str(part) for part in item['loc']) or what}: {item['msg']}" for item in error.errors()
        )
        raise error_type(f"{what} file {path}: {problems}") from error
