# The roles in one small image: docker build -t fraudstream .

FROM python:3.11.14-slim-bookworm AS build
ENV PIP_DISABLE_PIP_VERSION_CHECK=1 PIP_NO_CACHE_DIR=1
WORKDIR /build

# The native pieces are compiled; the image that runs has no compiler.
RUN apt-get update && apt-get install --yes --no-install-recommends gcc libc6-dev && rm -rf /var/lib/apt/lists/*

# Every package of the lock as a wheel, its hash checked; what the program does not need stays in this stage.
COPY requirements.lock .
RUN pip wheel --no-deps --require-hashes --wheel-dir wheels --requirement requirements.lock

COPY . .
RUN pip wheel --no-deps --no-index --find-links wheels --wheel-dir wheels . \
    && python -m venv --without-pip /opt/fraudstream \
    && pip --python /opt/fraudstream/bin/python install --no-index --find-links wheels 'fraudstream[console]'

FROM python:3.11.14-slim-bookworm
# The folder of alerts belongs to the role: a new volume takes its owner from here.
RUN useradd --uid 10001 --no-create-home --shell /usr/sbin/nologin fraud \
    && install --directory --owner 10001 --group 10001 --mode 0700 /var/lib/fraudstream/alerts
COPY --from=build /opt/fraudstream /opt/fraudstream
ENV PATH=/opt/fraudstream/bin:$PATH PYTHONUNBUFFERED=1 PYTHONDONTWRITEBYTECODE=1
WORKDIR /tmp
USER 10001:10001
STOPSIGNAL SIGTERM
ENTRYPOINT ["fraudstream"]
CMD ["--help"]
