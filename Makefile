# Two commands are all that a user needs: `cargo run -p examples --example kanban` and `make test`.

.PHONY: test lint bench

test:
	./tests/run

lint:
	cargo fmt --all --check
	cargo clippy --workspace --all-targets --all-features -- -D warnings
	RUSTDOCFLAGS="-D warnings" cargo doc --workspace --no-deps --all-features

bench:
	cargo bench -p lock-runtime
	cargo bench -p lockd
	cargo bench -p benches
