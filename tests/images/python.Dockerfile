FROM k2ctl-local/debian:bookworm
RUN apt-get update -qq \
 && apt-get install -y -qq --no-install-recommends python3 python3-venv \
 && rm -rf /var/lib/apt/lists/* \
 && ln -s python3 /usr/bin/python
# pip trusts what this machine trusts
ENV PIP_CERT=/etc/ssl/certs/ca-certificates.crt
