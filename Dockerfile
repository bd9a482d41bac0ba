# One image for every role: the command selects the server.

FROM rust:1.95.0-slim-bookworm AS build
# For the allocator, which is in C.
RUN apt-get update -qq && apt-get install -y -qq --no-install-recommends make && rm -rf /var/lib/apt/lists/*
WORKDIR /build
# The dependencies first, with empty libraries for the crates of the workspace: this layer is cached
# until a manifest or the lock file changes.
COPY Cargo.toml Cargo.lock ./
COPY wire/Cargo.toml wire/
COPY shared/model/Cargo.toml shared/model/
COPY shared/runtime/Cargo.toml shared/runtime/
COPY shared/bus/Cargo.toml shared/bus/
COPY shared/node/Cargo.toml shared/node/
COPY shared/frontend/Cargo.toml shared/frontend/
COPY shared/witness/Cargo.toml shared/witness/
COPY shared/testkit/Cargo.toml shared/testkit/
COPY gate/Cargo.toml gate/
COPY connector/Cargo.toml connector/
COPY connector/follower/Cargo.toml connector/follower/
COPY chat/owner/Cargo.toml chat/owner/
COPY chat/Cargo.toml chat/
COPY client/Cargo.toml client/
COPY load/Cargo.toml load/
COPY bench/Cargo.toml bench/
COPY tests/Cargo.toml tests/
COPY cluster/Cargo.toml cluster/
COPY examples/bot-rust/Cargo.toml examples/bot-rust/
COPY fuzz/checks/Cargo.toml fuzz/checks/
RUN set -- */Cargo.toml */*/Cargo.toml \
    && sed -i '/^default-run/d; /^\[\[/,/^$/d' "$@" \
    && for manifest in "$@"; do src="$(dirname "$manifest")/src" && mkdir "$src" && touch "$src/lib.rs"; done \
    && cargo build --release --locked --package cluster --lib
COPY . .
# Cargo compares modification times: the builds of the empty crates must look old.
RUN touch */src/*.rs */*/src/*.rs && cargo build --release --locked --package cluster --bin shaddock

FROM debian:12.12-slim
# Volumes are mounted below /secrets and inherit owner and mode: `setup` of docker-compose.yml
# writes there.
RUN useradd --system --user-group --no-create-home shaddock \
    && install --directory --owner=shaddock --group=root --mode=0750 /secrets /secrets/passwords /secrets/keys /secrets/nats
COPY --from=build /build/target/release/shaddock /usr/local/bin/shaddock
COPY config /etc/shaddock
USER shaddock
# Gate, connectors; admin listeners of connectors and chat servers.
EXPOSE 3014 3050-3052 4050-4052 6050-6052
ENV SHADDOCK_CONFIG=/etc/shaddock
ENTRYPOINT ["shaddock"]
