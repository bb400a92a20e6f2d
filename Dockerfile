# The service, `nextbest serve` by default; `nextbest worker` is the other half. compose.yaml shows how they stand together.

FROM python:3.13-slim AS build
WORKDIR /src
COPY requirements.lock ./
RUN python -m venv --without-pip /opt/nextbest
RUN python -m pip --python /opt/nextbest/bin/python install --no-cache-dir --require-hashes --only-binary :all: --requirement requirements.lock
COPY pyproject.toml README.md LICENSE NOTICE ./
COPY api/ api/
COPY decisioning/ decisioning/
COPY models/ models/
COPY rules/ rules/
RUN python -m pip --python /opt/nextbest/bin/python install --no-cache-dir --no-index --no-deps --no-build-isolation .
# The build backend has done its work; nothing that builds goes on to the next stage.
RUN python -m pip --python /opt/nextbest/bin/python uninstall --yes hatchling pathspec pluggy trove-classifiers

FROM python:3.13-slim
RUN python -m pip uninstall --yes pip \
    && useradd --system --uid 10001 --home-dir /var/lib/nextbest nextbest \
    && install --directory --owner nextbest /var/lib/nextbest /var/lib/nextbest/data /var/lib/nextbest/history /var/lib/nextbest/models
COPY --from=build /opt/nextbest /opt/nextbest
COPY NOTICE LICENSE /opt/nextbest/
ENV PATH=/opt/nextbest/bin:$PATH \
    PYTHONUNBUFFERED=1 \
    NEXTBEST_DATA_DIR=/var/lib/nextbest/data \
    NEXTBEST_HISTORY_DIR=/var/lib/nextbest/history \
    NEXTBEST_MODELS_DIR=/var/lib/nextbest/models
# What a command writes here, such as the rejects of a load, outlives its container where a volume is mounted.
WORKDIR /var/lib/nextbest/data
USER nextbest
EXPOSE 8080
HEALTHCHECK --interval=10s --timeout=3s --start-period=30s \
    CMD ["python", "-c", "import urllib.request; urllib.request.urlopen('http://127.0.0.1:8080/healthz', timeout=2)"]
CMD ["nextbest", "serve", "--host", "0.0.0.0", "--port", "8080"]
