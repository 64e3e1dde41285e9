# reftop. `make demo` and `make check` work on a fresh Debian; `make help` lists the targets.
CFLAGS   ?= -O2 -g
BUILD    ?= build
PREFIX   ?= /usr/local

PACKAGES := glib-2.0 gthread-2.0 json-glib-1.0 sqlite3 ncursesw libelf libdw libzstd libseccomp libcap-ng libmicrohttpd libsystemd
STRICT   := -std=gnu11 -D_GNU_SOURCE -Wall -Wextra -Wshadow -Wstrict-prototypes -Wmissing-prototypes -Wvla \
            -Wno-unused-parameter -Wimplicit-fallthrough -Werror=incompatible-pointer-types
PKG_CFLAGS := $(shell pkg-config --cflags $(PACKAGES) 2>/dev/null)
PKG_LIBS   := $(shell pkg-config --libs $(PACKAGES) 2>/dev/null) -lm
SANITIZE := -O1 -g -fsanitize=address,undefined -fno-omit-frame-pointer -fno-sanitize-recover=undefined

FLOORS   := base symbols daemon tui
SOURCES  := $(shell find $(FLOORS) -name '*.c' | sort)
HEADERS  := $(shell find $(FLOORS) -name '*.h' | sort)
OBJECTS  := $(SOURCES:%.c=$(BUILD)/%.o)
LIBRARY  := $(filter-out $(BUILD)/tui/main.o,$(OBJECTS))
UNITS    := $(patsubst tests/unit/%.c,$(BUILD)/tests/unit/%,$(wildcard tests/unit/*.c))
# Debian's goes before one of another Python, which may lack it
PYTEST   ?= $(or $(wildcard /usr/bin/pytest-3),python3 -m pytest)
COMPLETIONS := $(BUILD)/reftop.bash $(BUILD)/reftop.zsh $(BUILD)/reftop.fish

# `make V=1` shows the commands
Q   := $(if $(V),,@)
say  = $(if $(V),,@echo "  $(1) $(2)")

all: $(BUILD)/reftop ## build the program (the default)

$(BUILD)/reftop: $(OBJECTS)
	$(call say,LINK,$@)
	$(Q)$(CC) $(CFLAGS) $(LDFLAGS) -o $@ $^ $(PKG_LIBS)

$(BUILD)/%.o: %.c | packages
	@mkdir -p $(@D)
	$(call say,CC,$<)
	$(Q)$(CC) $(STRICT) $(CFLAGS) -I. $(PKG_CFLAGS) -MMD -MP -c -o $@ $<

$(BUILD)/libreftop.a: $(LIBRARY)
	$(Q)rm -f $@ && ar rcs $@ $^

$(BUILD)/tests/unit/%: tests/unit/%.c $(BUILD)/libreftop.a
	@mkdir -p $(@D)
	$(call say,UNIT,$@)
	$(Q)$(CC) $(STRICT) $(CFLAGS) -I. $(PKG_CFLAGS) -MMD -MP $(LDFLAGS) -o $@ $< $(BUILD)/libreftop.a $(PKG_LIBS)

units: $(UNITS)

# what to do when a library isn't there, before the compiler tells it in its own words
packages:
	@pkg-config --exists $(PACKAGES) || { echo "a library is missing; 'make deps' installs what the build needs" >&2; exit 1; }

deps: ## install what the build and the tests need (Debian)
	@tools/deps.sh build check

demo: ## start a small leaking Python program and watch it
	@tools/deps.sh build demo
	@$(MAKE) --no-print-directory -s all
	@tools/demo.sh $(BUILD)/reftop

check: ## build and run every test
	@tools/deps.sh build check
	@$(MAKE) --no-print-directory check-built

check-built: all units floors manual-check fetched
	@$(MAKE) --no-print-directory BUILD=$(BUILD)/san CFLAGS="$(SANITIZE)" all units
	prove --exec '' $(UNITS)
	ASAN_OPTIONS=detect_leaks=1 prove --exec '' $(UNITS:$(BUILD)/%=$(BUILD)/san/%)
	REFTOP=$(abspath $(BUILD)/san/reftop) REFTOP_PYTHONS=3.8,3.13 $(PYTEST) -q -p no:cacheprovider -k "not slope" \
	    tests/live/test_command.py tests/live/test_record.py tests/live/test_census.py
	REFTOP_TEST_FETCH=$(or $(REFTOP_TEST_FETCH),1) REFTOP=$(abspath $(BUILD)/reftop) REFTOP_SANITIZED=$(abspath $(BUILD)/san/reftop) $(PYTEST) -q -p no:cacheprovider tests/live

# what the tests fetch, while the compiler works; what fails here they try once more, and say why
fetched:
	-@[ "$(REFTOP_TEST_FETCH)" = 0 ] || { timeout 600 tools/kernels.sh; [ "$$(id -u)" != 0 ] || timeout 600 tools/interpreters.sh sid trixie; } >/dev/null 2>&1

floors: ## check that no floor includes from one above it
	@awk -f tools/floors.awk $(SOURCES) $(HEADERS)

$(BUILD)/tests/bench/%: tests/bench/%.c
	@mkdir -p $(@D)
	$(Q)$(CC) -std=gnu11 -D_GNU_SOURCE $(CFLAGS) -o $@ $< -lpthread

bench: all units $(patsubst tests/bench/%.c,$(BUILD)/tests/bench/%,$(wildcard tests/bench/*.c)) ## run the benchmarks
	@tools/deps.sh build check bench
	@for bench in $(filter-out tests/bench/picture.py,$(wildcard tests/bench/*.py)); do echo "== $$bench"; REFTOP=$(abspath $(BUILD)/reftop) BUILD=$(abspath $(BUILD)) python3 $$bench || exit 1; done

FUZZ_SECONDS ?= 600
# no trace-cmp: it takes most of the time, and what is compared here is addresses
FUZZ := -O2 -g -fsanitize=address,undefined -fno-omit-frame-pointer -fno-sanitize-recover=undefined

fuzz: all ## run the fuzzers (clang), FUZZ_SECONDS each
	@tools/deps.sh build fuzz
	@$(MAKE) --no-print-directory BUILD=$(BUILD)/fuzz CC=clang CFLAGS="$(FUZZ) -fsanitize=fuzzer-no-link -fno-sanitize-coverage=trace-cmp,indirect-calls -Wno-unknown-warning-option" $(BUILD)/fuzz/libreftop.a
	@for name in protocol heap; do clang $(STRICT) $(FUZZ) -fsanitize=fuzzer -I. $(PKG_CFLAGS) -o $(BUILD)/fuzz/$$name tests/fuzz/$$name.c $(BUILD)/fuzz/libreftop.a $(PKG_LIBS) || exit 1; done
	python3 tests/fuzz/run.py $(BUILD)/reftop $(BUILD) $(FUZZ_SECONDS)

# the built-in layout tables, from the interpreters at hand (symbols/layouts/)
$(BUILD)/layouts: tools/layouts.c $(BUILD)/libreftop.a
	@mkdir -p $(@D)
	$(Q)$(CC) $(STRICT) $(CFLAGS) -I. $(PKG_CFLAGS) -MMD -MP $(LDFLAGS) -o $@ $< $(BUILD)/libreftop.a $(PKG_LIBS)

layouts: $(BUILD)/layouts ## make the built-in layout tables again
	tools/layouts.sh $(BUILD)/layouts

manual: $(BUILD)/reftop ## make docs/manual.md again
	$(BUILD)/reftop help --format markdown > docs/manual.md

manual-check: $(BUILD)/reftop
	@$(BUILD)/reftop help --format markdown | cmp -s - docs/manual.md || { echo "docs/manual.md is old: run 'make manual'" >&2; exit 1; }

$(BUILD)/reftop.1: $(BUILD)/reftop
	$(Q)$(BUILD)/reftop help --format man > $@

$(BUILD)/reftop.bash $(BUILD)/reftop.zsh $(BUILD)/reftop.fish: $(BUILD)/reftop.%: $(BUILD)/reftop
	$(Q)$(BUILD)/reftop help --format $* > $@

install: all $(BUILD)/reftop.1 $(COMPLETIONS) ## install program, manual page and completions (PREFIX, DESTDIR)
	install -D -m 755 $(BUILD)/reftop $(DESTDIR)$(PREFIX)/bin/reftop
	install -D -m 644 $(BUILD)/reftop.1 $(DESTDIR)$(PREFIX)/share/man/man1/reftop.1
	install -D -m 644 $(BUILD)/reftop.bash $(DESTDIR)$(PREFIX)/share/bash-completion/completions/reftop
	install -D -m 644 $(BUILD)/reftop.zsh $(DESTDIR)$(PREFIX)/share/zsh/site-functions/_reftop
	install -D -m 644 $(BUILD)/reftop.fish $(DESTDIR)$(PREFIX)/share/fish/vendor_completions.d/reftop.fish

	install -d $(DESTDIR)$(PREFIX)/lib/systemd/system $(DESTDIR)$(PREFIX)/lib/systemd/user $(DESTDIR)$(PREFIX)/share/reftop
	for unit in reftop.service reftop.socket; do sed 's|/usr/local/bin|$(PREFIX)/bin|' docs/systemd/$$unit > $(DESTDIR)$(PREFIX)/lib/systemd/system/$$unit; done
	sed 's|/usr/local/bin|$(PREFIX)/bin|' docs/systemd/reftop-user.service > $(DESTDIR)$(PREFIX)/lib/systemd/user/reftop.service
	install -m 644 docs/monitoring/* $(DESTDIR)$(PREFIX)/share/reftop

# the tables of the layouts are columns by hand
FORMATTED = $(filter-out symbols/layout.h symbols/layouts/%,$(shell find $(FLOORS) tools tests -name '*.[ch]'))

# cppcheck reads no system headers: what it must know of GLib; what it says of values returned by calls that are given an address is wrong
CPPCHECK = -D__x86_64__ "-DG_DEFINE_AUTOPTR_CLEANUP_FUNC(t,f)=" "-DG_DEFINE_AUTO_CLEANUP_CLEAR_FUNC(t,f)=" "-Dg_autoptr(t)=t *" \
           "-Dg_auto(t)=t" -Dg_autofree= -DG_STRUCT_OFFSET=offsetof "-DG_GNUC_PRINTF(f,a)=" -DG_GNUC_NULL_TERMINATED= \
           --suppress=returnDanglingLifetime --suppress=ctuuninitvar

lint: ## formatting, clang-tidy, cppcheck
	@tools/deps.sh build lint
	clang-format --dry-run -Werror $(FORMATTED)
	cppcheck --quiet --error-exitcode=1 --inline-suppr --std=c11 --enable=warning,portability $(CPPCHECK) -I. $(SOURCES)
	printf '%s\n' $(SOURCES) | xargs -P 2 -n 8 sh -c 'clang-tidy --quiet "$$@" -- $(STRICT) -I. $(PKG_CFLAGS) 2>/dev/null' clang-tidy

format: ## format the C files
	clang-format -i $(FORMATTED)

clean: ## remove what was built
	rm -rf $(BUILD)

help: ## list the targets
	@awk -F ':.*## ' '/^[a-z-]+:.*## / { printf "  make %-10s %s\n", $$1, $$2 }' Makefile

-include $(OBJECTS:.o=.d) $(UNITS:=.d) $(BUILD)/layouts.d

.PHONY: all units fetched packages deps demo check check-built floors bench fuzz layouts manual manual-check install lint format clean help
