# The front door. Everything real is in CMakeLists.txt and tools/; `make` alone says what there is.
BUILD_TYPE = $(or $(SAN),release)
BUILD = build/$(BUILD_TYPE)
PREFIX = /usr/local
JOBS = 1
HONE = $(BUILD)/hone

help:
	@echo "hone: fine-tunes language models on plain machines"
	@echo
	@echo "  make run           set up, build, fetch a real model and data, and evaluate the kernels on them"
	@echo "                     ARGS='...' gives hone eval other options (ARGS=--help lists them)"
	@echo "  make build         build alone: the program is $(HONE)"
	@echo "  make check         set up, build and run all tests; the last line is the count"
	@echo "                     SAN=asan|ubsan|tsan runs them under sanitizers, TESTS='format/ cli/train' only some,"
	@echo "                     JOBS=2 two at a time"
	@echo "  make stress        the tests of the sandbox 100 times in a row (TIMES=10)"
	@echo "  make check-arm     builds for aarch64 and runs the tests in an emulator (TESTS as above)"
	@echo "  make check-golden  GOLDEN=DIR compares with figures of other implementations (default tests/golden)"
	@echo "  make tidy          the rules of style alone (part of check); make format mends what it can"
	@echo "  make bench         measure hone on this machine: text, JSON and a page with charts (ten minutes)"
	@echo "                     ARGS='gemm attention' some sections (ARGS=--help lists them), PEERS=venv PyTorch too"
	@echo "  make install       PREFIX=$(PREFIX) DESTDIR= : program, libraries, headers, manual pages"
	@echo "  make clean         remove build/"
	@echo
	@echo "The model and the data (120 MB) go to \$$HONE_HOME, else ~/.cache/hone."

run: setup build
	@tools/fetch-model
	@tools/fetch-data $(BUILD)
	$(HONE) eval $(ARGS)

check: setup build model-and-data
	@tools/run-tests -j $(JOBS) $(BUILD) $(TESTS)

stress: setup build
	@tools/stress $(BUILD) $(or $(TIMES),100)

check-arm:
	@tools/check-arm $(TESTS)

check-golden: setup build model-and-data
	@HONE_GOLDEN=$(abspath $(or $(GOLDEN),tests/golden)) tools/run-tests -g $(BUILD) golden

bench: setup-bench build model-and-data
	@cmake -S . -B $(BUILD) >/dev/null && ninja -C $(BUILD) bench
	@$(BUILD)/bench/bench $(if $(PEERS),--peers $(PEERS)) $(ARGS)

setup-bench:
	@tools/setup bench

setup:
	@tools/setup

# The tests that need the model or the data say so themselves when they are not there.
model-and-data: build
	@tools/fetch-model || echo "make: going on without the model: the tests that need it are skipped"
	@tools/fetch-data $(BUILD) || echo "make: going on without WordNet"

# CMake runs again by itself when its files or the set of sources change.
$(BUILD)/build.ninja:
	@cmake -S . -B $(BUILD) -G Ninja -DHONE_SANITIZE=$(SAN) -DHONE_WERROR=$(if $(CI),ON,OFF)

build: setup
	@$(MAKE) --no-print-directory $(BUILD)/build.ninja
	@ninja -C $(BUILD)

install: build
	@DESTDIR="$(DESTDIR)" cmake --install $(BUILD) --prefix "$(PREFIX)"

tidy: setup
	@mkdir -p $(BUILD) && tools/run-tests $(BUILD) '^style/'

format: setup
	@find include src cli tests tools bench examples -name '*.[ch]' -not -path 'tests/golden/*' | xargs clang-format -i

clean:
	rm -rf build

.PHONY: help run check stress check-arm check-golden bench setup-bench setup model-and-data build \
	install tidy format clean
