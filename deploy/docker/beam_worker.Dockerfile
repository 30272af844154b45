# A worker of Beam's Flink, Spark and Dataflow runners, with all that the pipeline imports:
# --environment_type=DOCKER --environment_config=<image>, or --sdk_container_image=<image>.
ARG PYTHON=3.10-slim-bookworm
ARG BEAM=2.62.0
ARG BEAM_PYTHON=3.10

FROM apache/beam_python${BEAM_PYTHON}_sdk:${BEAM} AS beam

FROM python:${PYTHON} AS build
# pyfarmhash, of TFX, is compiled.
# hadolint ignore=DL3008
RUN apt-get update \
    && apt-get install --yes --no-install-recommends g++ \
    && rm -rf /var/lib/apt/lists/*
RUN python -m venv /opt/vitrine
ENV PATH=/opt/vitrine/bin:$PATH PIP_NO_CACHE_DIR=1 PIP_DISABLE_PIP_VERSION_CHECK=1
# A lock is complete; that of Python 3.12 overrides what packages say of each other.
ARG LOCK=requirements.lock
COPY ${LOCK} /src/
RUN pip install --require-hashes --no-deps --requirement "/src/${LOCK}"
COPY . /src
RUN pip install --no-deps /src

FROM python:${PYTHON}
COPY --from=beam /opt/apache/beam /opt/apache/beam
COPY --from=build /opt/vitrine /opt/vitrine
RUN useradd --uid 10001 --create-home vitrine
# Beam would start in an environment of its own, in which none of this is installed.
ENV PATH=/opt/vitrine/bin:$PATH RUN_PYTHON_SDK_IN_DEFAULT_ENVIRONMENT=1
USER 10001:10001
ENTRYPOINT ["/opt/apache/beam/boot"]
