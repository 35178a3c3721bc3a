# One image for all services: docker run igbot gateway|tokens|responder.
#   docker build -t igbot .
#   docker build --build-arg PYTHON=registry.example.com/python@sha256:… \
#                --build-arg PIP_INDEX_URL=https://packages.example.com/simple -t igbot .
# Pin PYTHON by digest when releasing. A password does not belong into PIP_INDEX_URL: mount a pip.conf or a netrc.
ARG PYTHON=python:3.13-slim

FROM ${PYTHON} AS build
ARG PIP_INDEX_URL
ARG PIP_EXTRA_INDEX_URL
ENV PIP_DISABLE_PIP_VERSION_CHECK=1 PIP_NO_CACHE_DIR=1 PIP_ROOT_USER_ACTION=ignore
WORKDIR /src
# The locked packages first: they change less often than the code. No pip in the environment that ships.
COPY requirements/base.txt requirements/build.txt requirements/
RUN python -m venv --without-pip /app/.venv \
 && python -m venv /build \
 && pip --python /app/.venv/bin/python install --no-compile --only-binary :all: --require-hashes -r requirements/base.txt \
 && pip --python /build/bin/python install --only-binary :all: --require-hashes -r requirements/build.txt
COPY pyproject.toml README.md LICENSE ./
COPY services services
# Importing every module of ours compiles what they use, and nothing else: bytecode for all would be 20 MB more. It also
# shows that the locked packages are enough.
RUN /build/bin/pip wheel --no-deps --no-build-isolation --wheel-dir /wheel . \
 && pip --python /app/.venv/bin/python install --no-compile --no-deps /wheel/*.whl \
 && /app/.venv/bin/python -P -c "import pkgutil, services; [__import__(m.name) for m in pkgutil.walk_packages(services.__path__, 'services.')]" \
 && chmod -R a+rX,go-w /app

# The same base in both stages, so that the environment's path to Python holds.
FROM ${PYTHON} AS runtime
COPY --from=build /app/.venv /app/.venv
ENV PATH=/app/.venv/bin:$PATH PYTHONUNBUFFERED=1 PYTHONDONTWRITEBYTECODE=1 HOME=/tmp
WORKDIR /app
# A number, since the kubelet cannot tell that a name is not root; any other number works as well.
USER 65532:65532
ENTRYPOINT ["igbot"]

# For skaffold's hot reload: the code where files may be copied over it, and a loop that starts it anew.
FROM runtime AS dev
USER 0
COPY docker/reload /usr/local/bin/reload
COPY --chown=65532:65532 services /app/services
ENV PYTHONPATH=/app
USER 65532:65532
ENTRYPOINT ["/usr/local/bin/reload"]

# For skaffold debug, which knows a Python program by its entry point.
FROM runtime AS debug
ENTRYPOINT ["python", "-m", "services.cli.main"]

# What `docker build .` makes.
FROM runtime
