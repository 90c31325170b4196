FROM k2ctl-local/debian:bookworm
RUN apt-get update -qq \
 && apt-get install -y -qq --no-install-recommends openjdk-17-jre-headless \
 && rm -rf /var/lib/apt/lists/*
RUN useradd appuser && mkdir -p /var/lib/kafka/data /etc/kafka && chown appuser /var/lib/kafka/data
COPY libs /opt/kafka/libs
USER appuser
