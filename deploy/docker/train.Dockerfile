# The pipeline and training. The wheels of CUDA come with `CUDA=true`, which makes the image 5 GB.
ARG PYTHON=3.10-slim-bookworm

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
ARG CUDA=true
ARG CUDA_LOCK=cuda.lock
COPY deploy/docker/${CUDA_LOCK} /src/
RUN if [ "$CUDA" = true ]; then pip install --require-hashes --no-deps --requirement "/src/${CUDA_LOCK}"; fi
COPY . /src
RUN pip install --no-deps /src

FROM python:${PYTHON}
COPY --from=build /opt/vitrine /opt/vitrine
RUN useradd --uid 10001 --create-home vitrine && install --directory --owner=10001 /pipeline
ENV PATH=/opt/vitrine/bin:$PATH
# Data and runs are mounted below it.
WORKDIR /pipeline
USER 10001:10001
ENTRYPOINT ["vitrine"]
CMD ["--help"]
