# zbaton: everything a user or a packager calls. The build itself is Meson's.
BUILD ?= build
PREFIX ?= /usr

.PHONY: all stage demo test test-long bench lint install clean

# What is installed; the tests build what they need besides.
all: $(BUILD)/build.ninja
	ninja -C $(BUILD) src/cmd/zbaton src/cmd/zbaton-setup src/cmd/zbatond src/cmd/zbatond-engine

$(BUILD)/build.ninja:
	tools/setup build
	meson setup $(BUILD) --prefix $(PREFIX) --sysconfdir /etc --localstatedir /var

# The installed programs as a tree, for the lab's hosts.
stage: all
	rm -rf $(BUILD)/stage
	DESTDIR=$(abspath $(BUILD))/stage meson install -C $(BUILD) --no-rebuild --quiet

demo:
	tools/setup demo
	$(MAKE) --no-print-directory stage
	lab/demo

test:
	tools/setup test
	tools/run-tests

test-long:
	tools/setup test
	tools/run-tests --long

bench:
	tools/setup all
	$(MAKE) --no-print-directory stage
	ninja -C $(BUILD) test/lab/floor/floor
	lab/bench

lint:
	tools/lint $(BUILD)

install: all
	meson install -C $(BUILD) --no-rebuild

clean:
	rm -rf $(BUILD) build-asan build-fuzz
