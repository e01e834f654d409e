# The image holds the Debian package and nothing else of ours; the same script makes both.
FROM debian:12.12-slim AS build
WORKDIR /src
COPY . .
RUN tools/package

FROM debian:12.12-slim
SHELL ["/bin/bash", "-o", "pipefail", "-c"]
COPY --from=build /src/build/package/*.deb /tmp/
COPY --from=build /src/packaging/install /tmp/install
# A number, so that Kubernetes sees that it is not root.
RUN useradd --system --uid 10001 --user-group --no-create-home --home-dir /var/lib/betrace-kms \
    --shell /usr/sbin/nologin betrace-kms
RUN /tmp/install /tmp/betrace-kms_*.deb && rm -rf /tmp/* /var/lib/apt/lists/*
# In a container the log goes to standard error, and the port out of it: give it TLS, or a network of
# its own.
ENV QUARKUS_HTTP_HOST=0.0.0.0 QUARKUS_LOG_FILE_ENABLE=false
USER 10001
VOLUME /var/lib/betrace-kms
EXPOSE 8080
HEALTHCHECK --interval=10s --timeout=3s CMD ["betrace-kms", "health", "live"]
ENTRYPOINT ["betrace-kms"]
CMD ["serve", "--config", "/etc/betrace/application.properties"]
