# The local server, for hosts without a GPU. ScaNN, whose operations TF Serving cannot load, is
# beside it; what the pipeline pushes answers with stock operations and does without.
ARG PYTHON=3.10-slim-bookworm

FROM python:${PYTHON} AS build
RUN python -m venv /opt/vitrine
ENV PATH=/opt/vitrine/bin:$PATH PIP_NO_CACHE_DIR=1 PIP_DISABLE_PIP_VERSION_CHECK=1
ARG LOCK=requirements.lock
COPY . /src
# The locked versions of what the server needs, and no more.
RUN grep -oE '^[A-Za-z0-9._-]+==[^ ]+' "/src/${LOCK}" > /src/constraints.txt \
    && pip install --constraint /src/constraints.txt "/src[serving]" scann

FROM python:${PYTHON}
COPY --from=build /opt/vitrine /opt/vitrine
RUN useradd --uid 10001 --create-home vitrine
ENV PATH=/opt/vitrine/bin:$PATH TF_CPP_MIN_LOG_LEVEL=1
EXPOSE 8500
USER 10001:10001
# It has a health service, and a client that asks it comes with gRPC.
HEALTHCHECK --interval=10s --timeout=5s --start-period=120s CMD ["python", "-c", "import grpc; from grpc_health.v1 import health_pb2 as h, health_pb2_grpc as g; assert g.HealthStub(grpc.insecure_channel('127.0.0.1:8500')).Check(h.HealthCheckRequest(), timeout=4).status == 1"]
# A file with the settings of `ServerConfig`.
ENTRYPOINT ["python", "-m", "serving.local_server"]
CMD ["/etc/vitrine/server.json"]
