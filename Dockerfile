# One image for every role: the command says which server to run.

FROM rust:1.95.0-slim-bookworm AS build
WORKDIR /build
# The dependencies first, with empty crates of ours, which have no other target than a library: this layer stays until a
# manifest or the lock file changes.
COPY Cargo.toml Cargo.lock ./
COPY wire/Cargo.toml wire/
COPY shared/model/Cargo.toml shared/model/
COPY shared/runtime/Cargo.toml shared/runtime/
COPY shared/bus/Cargo.toml shared/bus/
COPY shared/node/Cargo.toml shared/node/
COPY shared/frontend/Cargo.toml shared/frontend/
COPY shared/testkit/Cargo.toml shared/testkit/
COPY gate/Cargo.toml gate/
COPY connector/Cargo.toml connector/
COPY chat/Cargo.toml chat/
COPY client/Cargo.toml client/
COPY load/Cargo.toml load/
COPY bench/Cargo.toml bench/
COPY cluster/Cargo.toml cluster/
RUN sed -i '/^default-run/d; /^\[\[/,/^$/d' $(find . -mindepth 2 -name Cargo.toml) \
    && find . -mindepth 2 -name Cargo.toml -execdir mkdir src \; -execdir touch src/lib.rs \; \
    && cargo build --release --locked --package cluster --lib
COPY . .
# Cargo goes by modification times: what was built from empty crates must look old.
RUN find . -path '*/src/*.rs' -exec touch {} + && cargo build --release --locked --package cluster --bin shaddock

FROM debian:12.12-slim
# Below /secrets volumes are mounted, which take over owner and mode: `setup` of docker-compose.yml writes there.
RUN useradd --system --user-group --no-create-home shaddock \
    && install --directory --owner=shaddock --group=root --mode=0750 /secrets /secrets/passwords /secrets/keys /secrets/nats
COPY --from=build /build/target/release/shaddock /usr/local/bin/shaddock
COPY config /etc/shaddock
USER shaddock
# Gate, connectors; admin listeners of connectors and chat servers.
EXPOSE 3014 3050-3052 4050-4052 6050-6052
ENV SHADDOCK_CONFIG=/etc/shaddock
ENTRYPOINT ["shaddock"]
