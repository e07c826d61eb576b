# The proxy and its engine in one image: `docker run IMAGE --config /app/config.yaml`. See docs/image.md.

FROM python:3.13-slim AS build
RUN apt-get update && apt-get install --yes --no-install-recommends binutils tini
COPY requirements/container.txt deploy/image/trim.py deploy/image/soundfile.py /build/
# Install the locked packages that trim.py keeps, with hashes, and strip debugging symbols from native modules. The bytecode
# is never checked against its source, because nothing can write here when the container runs.
RUN set -e \
    && python /build/trim.py requirements /build/container.txt >/build/kept.txt \
    && python -m venv --without-pip /opt/venv \
    && pip --python /opt/venv/bin/python install --no-cache-dir --no-compile --no-deps --require-hashes \
        --only-binary :all: --requirement /build/kept.txt \
    && cd /opt/venv/lib/python3.13/site-packages \
    && python /build/trim.py files . \
    && cp /build/soundfile.py . \
    && find . -name '*.so' -exec strip --strip-unneeded '{}' + \
    && python -m compileall -q -j 0 --invalidation-mode unchecked-hash .

FROM python:3.13-slim
# Python's standard library also comes without bytecode.
RUN useradd --uid 10001 --create-home router \
    && install --directory --owner 10001 /data \
    && python -m compileall -q -j 0 --invalidation-mode unchecked-hash \
        -x '/(site-packages|ensurepip|idlelib|lib2to3|pydoc_data|test|tkinter|turtledemo)/' /usr/local/lib/python3.13
COPY --from=build /usr/bin/tini-static /usr/local/bin/tini
COPY --from=build /opt/venv /opt/venv
COPY deploy/image/litellm-router /opt/venv/bin/litellm-router
COPY deploy/image/healthcheck.py /opt/healthcheck.py
COPY container /opt/venv/lib/python3.13/site-packages/container
COPY worker /opt/venv/lib/python3.13/site-packages/worker
RUN chmod 755 /opt/venv/bin/litellm-router \
    && python -m compileall -q --invalidation-mode unchecked-hash \
        /opt/venv/lib/python3.13/site-packages/container /opt/venv/lib/python3.13/site-packages/worker
COPY litellm_config.yaml /app/litellm_config.yaml
# Other configs for LITELLM_CONFIG: docs/deploy-railway-*.md, docs/deploy-compose.md
COPY deploy/compose/litellm_config.yaml /app/deploy/compose/litellm_config.yaml
COPY deploy/railway-workers/litellm_config.yaml /app/deploy/railway-workers/litellm_config.yaml
COPY deploy/railway-bot/litellm_config.yaml /app/deploy/railway-bot/litellm_config.yaml
# The standalone proxy keeps its ledger here. A volume mounted at /data outlives the container.
RUN ln -s /data /app/.litellm-router

# `::` is every address, including IPv4. The port is LITELLM_PORT, otherwise PORT, otherwise 4000.
ENV PATH=/opt/venv/bin:$PATH \
    PYTHONDONTWRITEBYTECODE=1 \
    PYTHONUNBUFFERED=1 \
    LITELLM_HOST=::
WORKDIR /app
USER 10001
EXPOSE 4000
HEALTHCHECK --interval=30s --timeout=5s --start-period=10s --retries=3 \
    CMD ["python", "-I", "-S", "/opt/healthcheck.py"]
# tini is process 1. It forwards signals and reaps processes that the engine leaves behind.
ENTRYPOINT ["tini", "--", "litellm-router", "serve"]
