# One stage that builds, one that runs: the second carries neither pip's cache nor the sources.
FROM python:3.12-slim AS build
WORKDIR /src
RUN python -m venv /opt/boswell
COPY requirements.txt .
RUN /opt/boswell/bin/pip install --no-cache-dir --requirement requirements.txt
COPY pyproject.toml README.md LICENSE ./
COPY bot bot
COPY adapters adapters
COPY memory memory
COPY config config
RUN /opt/boswell/bin/pip install --no-cache-dir --no-deps .

FROM python:3.12-slim
# The SDKs check certificates against the system's store, which slim images do not carry.
RUN apt-get update \
    && apt-get install --yes --no-install-recommends ca-certificates \
    && rm -rf /var/lib/apt/lists/* \
    && useradd --system --uid 10001 --home-dir /data --no-create-home boswell \
    && install --directory --owner=boswell --group=boswell --mode=0700 /data
COPY --from=build /opt/boswell /opt/boswell
# PYTHONSAFEPATH keeps the working directory, which holds people's files, from ever being imported from.
ENV PATH=/opt/boswell/bin:$PATH \
    PYTHONSAFEPATH=1 \
    PYTHONUNBUFFERED=1
USER boswell
# boswell.yaml is read here and data/ is written here: mount a volume, or a directory that uid 10001 may write to.
WORKDIR /data
VOLUME /data
STOPSIGNAL SIGTERM
# Exit code 0 while every adapter is up, 1 otherwise.
HEALTHCHECK --interval=30s --timeout=10s --start-period=20s CMD ["boswell", "status"]
ENTRYPOINT ["boswell"]
CMD ["run"]
