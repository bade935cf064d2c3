# zbaton: everything a user or a packager calls. The build itself is Meson's.
BUILD ?= build
PREFIX ?= /usr

.PHONY: all stage demo test test-long bench lint install clean

all: $(BUILD)/build.ninja
	ninja -C $(BUILD)

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
	lab/bench

lint:
	tools/lint $(BUILD)

install: all
	meson install -C $(BUILD)

clean:
	rm -rf $(BUILD) build-asan build-fuzz
