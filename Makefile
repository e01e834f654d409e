# Every command of the project; each is one script in tools/, which says what it does.
.PHONY: build run package test check check-terraform bench bench-peers torture fuzz clean

build:
	@tools/build

run:
	@tools/run

package:
	@tools/package

test:
	@tools/test

check:
	@tools/check

check-terraform:
	@tools/check-terraform

bench:
	@tools/bench

bench-peers:
	@tools/bench-peers

torture:
	@tools/torture

fuzz:
	@tools/fuzz

clean:
	rm -rf build
