# The operator, the board and the simulator: one image, whose first argument says which.
#
#   docker build -t localhost/toyrental .          # or podman build, buildah bud
#
# Where no registry of images is reachable, --build-arg BASE=… names a base of your own: Python 3.11
# or newer with venv and pip. Where no registry of packages is, put wheels for requirements/run.txt and
# build.txt into dist/wheels, and add
#   --build-arg PIP_OPTIONS='--no-index --find-links=dist/wheels'
#
# The default names a tag and no digest, until Renovate (.github/renovate.json) has added one here. Each
# image that is published carries an attestation of the digest that it was built on.
ARG BASE=docker.io/library/python:3.13-slim-bookworm

FROM ${BASE} AS build
ARG PIP_OPTIONS=""
WORKDIR /src
# Two environments: what builds the package stays behind.
RUN python3 -m venv --without-pip /build && python3 -m venv --without-pip /app
COPY requirements/build.txt requirements/run.txt requirements/
# LICENSE is there, whether dist is or not.
COPY LICENSE dist* dist/
RUN for part in build run; do \
      test "$part" = build && into=/build || into=/app; \
      python3 -m pip --python "$into/bin/python" install --quiet --no-cache-dir --require-hashes \
        --only-binary=:all: $PIP_OPTIONS -r "requirements/$part.txt" || exit 1; \
    done
COPY pyproject.toml README.md LICENSE ./
COPY operator operator
RUN /build/bin/python -m hatchling build --target wheel --directory package \
 && python3 -m pip --python /app/bin/python install --quiet --no-deps --no-index package/*.whl

FROM ${BASE}
ARG VERSION=""
ARG REVISION=""
LABEL org.opencontainers.image.title="Toy Rental Operator" \
      org.opencontainers.image.description="Runs toy-rental shops as Kubernetes resources." \
      org.opencontainers.image.licenses="Apache-2.0" \
      org.opencontainers.image.version="${VERSION}" \
      org.opencontainers.image.revision="${REVISION}"
COPY --from=build /app /app
# Nothing is written at run time; pip compiled what is imported.
ENV PYTHONDONTWRITEBYTECODE=1 \
    PYTHONUNBUFFERED=1
# By number, so that the kubelet can see that it is not root.
USER 65532:65532
ENTRYPOINT ["/app/bin/toyrental"]
CMD ["run"]
