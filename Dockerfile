# The router, in an image without a compiler, a package installer's cache or a secret.
#
#   docker build -t pointsman .
#   docker run --rm -it -p 127.0.0.1:8000:8000 pointsman try      a first look: it prints a key, and nobody else is answered
#   docker run --rm -p 8000:8000 --env-file .env --read-only --tmpfs /tmp --cap-drop ALL --stop-timeout 60 \
#     -v "$PWD/routes.yaml:/etc/router/routes.yaml:ro" pointsman
#
# It listens at all addresses, so the configuration must say who may ask, under `server`: `auth: {keys: …}`, with what
# `docker run --rm pointsman keys new alice` prints, or `auth: none` where nobody but your own front end reaches the port. The shipped one, which
# it has without the mount, does not say, and start-up tells so. To edit pipelines and tools too, mount a whole directory over
# /etc/router, and edits go live: a single mounted file is bound to its inode, and most editors replace the file. The stop timeout is the
# 30 s in which answers under way may end, and some. What workers share, where there are several, lies in /tmp.

# By digest: a tag may point to something else tomorrow. `make pins` writes the newest one.
FROM python:3.12.14-slim-trixie@sha256:f77ac9e44ae96ef2c90b8053ea08c31f8be030f824196b0ae4db6d462c84e51f AS packages

# Bytecode is written here, once: importing litellm takes 5 s with it and 12 s without. The source's hash is not looked
# at again at run time, so bytecode stays good whatever a copy does to time stamps.
ENV PIP_DISABLE_PIP_VERSION_CHECK=1 \
    PIP_NO_CACHE_DIR=1 \
    PYC_INVALIDATION_MODE=UNCHECKED_HASH \
    UV_NO_CACHE=1 \
    UV_PYTHON_DOWNLOADS=never

# The build tools live in an environment of their own, which stays behind. Both lists are locked by hash, and both
# environments are made in a stage of their own: an edit to the source does not install them again.
COPY requirements/build.txt requirements/run.txt /src/requirements/
RUN python -m venv /opt/build \
 && /opt/build/bin/pip install --require-hashes -r /src/requirements/build.txt \
 && python -m venv --without-pip /opt/router \
 && /opt/build/bin/uv pip install --python /opt/router/bin/python --compile-bytecode --require-hashes -r /src/requirements/run.txt


FROM packages AS build

# uv leaves a lock file that everybody may write to: it is of no use in an image.
WORKDIR /src
COPY pyproject.toml README.md LICENSE ./
COPY router router
RUN /opt/build/bin/pip wheel --no-deps --no-build-isolation --wheel-dir /dist . \
 && /opt/build/bin/uv pip install --python /opt/router/bin/python --compile-bytecode --no-deps /dist/*.whl \
 && rm -f /opt/router/.lock


FROM python:3.12.14-slim-trixie@sha256:f77ac9e44ae96ef2c90b8053ea08c31f8be030f824196b0ae4db6d462c84e51f

LABEL org.opencontainers.image.title="pointsman" \
      org.opencontainers.image.description="The router behind a chat UI" \
      org.opencontainers.image.licenses="MIT"

# Numeric in USER below, so that an orchestrator can see it is not root; named here, for libraries that look it up.
RUN groupadd --gid 65532 router \
 && useradd --uid 65532 --gid 65532 --no-create-home --home-dir /nonexistent --shell /usr/sbin/nologin router

# The path is the one the environment was made at: its scripts name it. Owned by root: the router cannot change itself.
COPY --from=build /opt/router /opt/router

# The default configuration, which a mount replaces. Not drills.yaml: it would stand beside a routes.yaml that is mounted alone, and name
# targets that this one does not have.
WORKDIR /etc/router
COPY routes.yaml ./
COPY pipelines pipelines
COPY tools tools

# Nothing is written at run time: the file system may be read-only.
ENV PATH=/opt/router/bin:$PATH \
    PYTHONDONTWRITEBYTECODE=1 \
    PYTHONUNBUFFERED=1

USER 65532:65532
EXPOSE 8000
STOPSIGNAL SIGTERM

# Ready: litellm is imported, the first answer will not wait for it. No proxy: HTTP_PROXY may be set for the providers.
# -I -S: the standard library is all it needs, and it starts in a few hundredths of a second.
HEALTHCHECK --interval=10s --timeout=3s --start-period=60s --retries=3 \
  CMD ["python", "-I", "-S", "-c", "from urllib.request import ProxyHandler, build_opener; build_opener(ProxyHandler({})).open('http://127.0.0.1:8000/readyz', timeout=2)"]

ENTRYPOINT ["router"]
CMD ["serve", "--host", "0.0.0.0", "--port", "8000"]
