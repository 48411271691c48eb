# syntax=docker/dockerfile:1
# Two images from one file: `app` is backend, runner and migrations (its argument is the role), `gateway` is Caddy with
# the web client. Both are made from the lock files alone.

FROM python:3.13.9-slim-trixie AS environment
RUN pip install --no-cache-dir uv==0.13.9
ENV UV_PYTHON_DOWNLOADS=never UV_COMPILE_BYTECODE=1 UV_LINK_MODE=copy UV_PROJECT_ENVIRONMENT=/opt/environment
WORKDIR /app
COPY pyproject.toml uv.lock ./
RUN uv sync --locked --no-default-groups --group image

FROM python:3.13.9-slim-trixie AS app
ENV PATH=/opt/environment/bin:$PATH PYTHONUNBUFFERED=1 PYTHONDONTWRITEBYTECODE=1
RUN groupadd --gid 10001 instashare && useradd --uid 10001 --gid 10001 --no-create-home --shell /usr/sbin/nologin instashare
WORKDIR /app
COPY --from=environment /opt/environment /opt/environment
COPY pyproject.toml ./
COPY backend backend
COPY jobs jobs
# the command line asks it whether there is a local stack; its services are not in the image
COPY local/*.py local/
COPY sql sql
COPY supabase/migrations supabase/migrations
COPY deploy/start deploy/start
USER 10001:10001
ENTRYPOINT ["/app/deploy/start"]
CMD ["--help"]

FROM node:24.19.0-trixie-slim AS web
WORKDIR /web
COPY web/package.json web/package-lock.json ./
RUN npm ci --no-audit --no-fund
COPY web ./
RUN npm run build

FROM caddy:2.11.4-alpine AS gateway
RUN addgroup -g 10001 gateway && adduser -D -H -u 10001 -G gateway gateway && chown -R 10001:10001 /data /config
ENV CADDYFILE=/etc/caddy/Caddyfile
COPY deploy/gateway/Caddyfile deploy/gateway/hosted.caddy deploy/gateway/shared.caddy /etc/caddy/
COPY deploy/gateway/start /usr/local/bin/start-gateway
COPY --from=web /web/dist /srv
USER 10001:10001
ENTRYPOINT ["start-gateway"]
