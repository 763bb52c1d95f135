# syntax=docker/dockerfile:1
# The connector as an image: `docker build --tag twilio-kafka-connector .`
# Everything is installed in the exact versions of requirements.txt, and only if its hash is there; the build's own tool is
# pinned here.
# The tag of the base image, or tag@sha256:…: a release builds from the digest that the tag has at that time, and says it.
ARG PYTHON=3.13-slim-trixie

FROM python:${PYTHON} AS build
ENV PIP_DISABLE_PIP_VERSION_CHECK=1 PIP_NO_CACHE_DIR=1 PIP_ROOT_USER_ACTION=ignore
WORKDIR /src
RUN pip install "hatchling==1.33.0" && python -m venv --without-pip /opt/venv
# Dependencies first: they stay in the cache when only the code changes.
COPY requirements.txt ./
RUN pip --python /opt/venv/bin/python install --require-hashes --no-deps --requirement requirements.txt
COPY pyproject.toml README.md LICENSE ./
COPY connector connector
RUN pip wheel --no-build-isolation --no-deps --wheel-dir /wheels . \
    && pip --python /opt/venv/bin/python install --no-deps /wheels/*.whl

FROM python:${PYTHON}
ARG VERSION=0.1.0
ARG REVISION=unknown
ARG PYTHON
LABEL org.opencontainers.image.title="twilio-kafka-connector" \
      org.opencontainers.image.description="Watches Twilio, receives its callbacks and executes commands, with Apache Kafka as the only other side." \
      org.opencontainers.image.licenses="Apache-2.0" \
      org.opencontainers.image.version="${VERSION}" \
      org.opencontainers.image.revision="${REVISION}" \
      org.opencontainers.image.base.name="docker.io/library/python:${PYTHON}"
COPY --from=build /opt/venv /opt/venv
ENV PATH=/opt/venv/bin:$PATH PYTHONDONTWRITEBYTECODE=1 PYTHONUNBUFFERED=1
# A number, so that Kubernetes can see that it is not root. connector.yaml here is read without being named.
USER 65532:65532
WORKDIR /etc/twilio-kafka
# Callbacks, and the admin port: health, metrics, console.
EXPOSE 8080 9090
HEALTHCHECK --interval=10s --timeout=5s --start-period=30s --retries=3 \
    CMD ["python", "-c", "import os, urllib.request as r; r.urlopen('http://127.0.0.1:' + os.environ.get('CONNECTOR_ADMIN__PORT', '9090') + '/livez', timeout=3)"]
ENTRYPOINT ["twilio-kafka"]
CMD ["run"]
