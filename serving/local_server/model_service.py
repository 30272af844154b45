"""TF Serving's ModelService: status, and reloading where it is switched on."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import grpc
from absl import logging

from serving.client import protos
from serving.local_server import rpc
from serving.local_server.disk import check_below
from serving.local_server.errors import RequestError
from serving.local_server.errors import invalid
from serving.local_server.errors import not_found
from serving.local_server.models_config import models_of
from serving.local_server.registry import Registry

_UNKNOWN = 2  # google.rpc.Code, for a version that could not be loaded


class ModelService:
    """Answers requests about the models themselves.

    Args:
        registry: the served models.
        reload_root: base paths of reloaded models must lie below it; `None`
            refuses every reload.
    """

    def __init__(self, registry: Registry, reload_root: Path | None) -> None:
        self._registry = registry
        self._reload_root = reload_root

    def handler(self) -> grpc.GenericRpcHandler:
        """Returns the handler to register with a gRPC server."""
        methods: dict[str, rpc.Method] = {
            "GetModelStatus": self.get_model_status,
            "HandleReloadConfigRequest": self.reload,
        }
        return rpc.handler(protos.MODEL_SERVICE, methods)

    async def get_model_status(self, message: bytes, context: Any) -> bytes:
        """Returns the states of a model's versions."""
        try:
            request = rpc.parse(protos.GetModelStatusRequest, message)
            serialised: bytes = self.status(request.model_spec).SerializeToString()
            return serialised
        except RequestError as error:
            await rpc.abort(context, error)

    async def reload(self, message: bytes, context: Any) -> bytes:
        """Replaces the list of models; returns when their versions were tried."""
        try:
            if self._reload_root is None:
                raise RequestError(
                    grpc.StatusCode.PERMISSION_DENIED,
                    "Reloading is switched off: a SavedModel is code, and this call loads any "
                    "path. Set `reload_root` to allow base paths below one directory.",
                )
            request = rpc.parse(protos.ReloadConfigRequest, message)
            try:
                models = models_of(request.config)
            except ValueError as error:
                raise invalid(str(error)) from error
            for model in models:
                try:
                    check_below(model.base_path, self._reload_root)
                except ValueError as error:
                    raise RequestError(grpc.StatusCode.PERMISSION_DENIED, str(error)) from error
                if not model.base_path.is_dir():
                    raise not_found(f"There is no directory {model.base_path}.")
            logging.info("Reloading: %s", [model.name for model in models])
            refused = await self._registry.apply(models)
            if refused:
                raise RequestError(
                    grpc.StatusCode.FAILED_PRECONDITION,
                    f"These labels are refused and stay where they were: {'; '.join(refused)}.",
                )
            serialised: bytes = protos.ReloadConfigResponse(status={}).SerializeToString()
            return serialised
        except RequestError as error:
            await rpc.abort(context, error)

    def status(self, spec: Any) -> Any:
        """Returns the `GetModelStatusResponse` for a `ModelSpec`.

        Raises:
            RequestError: there is no such model, version or label.
        """
        model = self._registry.find(spec.name)
        number = spec.version.value if spec.HasField("version") else None
        if spec.version_label:
            number = model.resolve(None, spec.version_label).number
        response = protos.GetModelStatusResponse()
        for version in sorted(model.versions.values(), key=lambda version: -version.number):
            if number in (None, version.number):
                entry = response.model_version_status.add()
                entry.version = version.number
                entry.state = int(version.state)
                entry.status.SetInParent()
                if version.fault:
                    entry.status.error_code = _UNKNOWN
                    entry.status.error_message = version.fault
        if number is not None and not response.model_version_status:
            have = [version.number for version in model.available()]
            raise not_found(f"Model `{spec.name}` has no version {number}; it serves {have}.")
        return response
