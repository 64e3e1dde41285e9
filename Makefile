# reftop. `make demo` and `make check` work on a fresh Debian; `make help` lists the targets.
CFLAGS   ?= -O2 -g
BUILD    ?= build
PREFIX   ?= /usr/local

PACKAGES := glib-2.0 gthread-2.0 json-glib-1.0 sqlite3 ncursesw libelf libdw
STRICT   := -std=gnu11 -D_GNU_SOURCE -Wall -Wextra -Wshadow -Wstrict-prototypes -Wmissing-prototypes -Wvla \
            -Wno-unused-parameter -Wimplicit-fallthrough -Werror=incompatible-pointer-types
PKG_CFLAGS = $(shell pkg-config --cflags $(PACKAGES))
PKG_LIBS   = $(shell pkg-config --libs $(PACKAGES)) -lm

FLOORS   := base symbols daemon tui
SOURCES  := $(shell find $(FLOORS) -name '*.c' | sort)
OBJECTS  := $(SOURCES:%.c=$(BUILD)/%.o)
LIBRARY  := $(filter-out $(BUILD)/tui/main.o,$(OBJECTS))
UNITS    := $(patsubst tests/unit/%.c,$(BUILD)/tests/unit/%,$(wildcard tests/unit/*.c))

all: $(BUILD)/reftop

$(BUILD)/reftop: $(OBJECTS)
	$(CC) $(CFLAGS) $(LDFLAGS) -o $@ $^ $(PKG_LIBS)

$(BUILD)/%.o: %.c
	@mkdir -p $(@D)
	$(CC) $(STRICT) $(CFLAGS) -I. $(PKG_CFLAGS) -MMD -MP -c -o $@ $<

$(BUILD)/libreftop.a: $(LIBRARY)
	rm -f $@ && ar rcs $@ $^

$(BUILD)/tests/unit/%: tests/unit/%.c $(BUILD)/libreftop.a
	@mkdir -p $(@D)
	$(CC) $(STRICT) $(CFLAGS) -I. $(PKG_CFLAGS) -MMD -MP $(LDFLAGS) -o $@ $< $(BUILD)/libreftop.a $(PKG_LIBS)

units: $(UNITS)

# the built-in layout tables, from the interpreters at hand (symbols/layouts/)
$(BUILD)/layouts: tools/layouts.c $(BUILD)/libreftop.a
	@mkdir -p $(@D)
	$(CC) $(STRICT) $(CFLAGS) -I. $(PKG_CFLAGS) -MMD -MP $(LDFLAGS) -o $@ $< $(BUILD)/libreftop.a $(PKG_LIBS)

layouts: $(BUILD)/layouts
	tools/layouts.sh $(BUILD)/layouts

-include $(OBJECTS:.o=.d) $(UNITS:=.d) $(BUILD)/layouts.d

clean:
	rm -rf $(BUILD)

.PHONY: all clean units layouts
