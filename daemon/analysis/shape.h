/*
 * What a series that doesn't grow steadily did instead, in one word. A verdict of growth.h comes first: what is steady is a leak, whatever
 * else it looks like. Pure.
 */
#pragma once
#include <stddef.h>
#include <stdint.h>

enum shape {
	SHAPE_WAITING,     /* too few samples */
	SHAPE_FLAT,        /* no change but noise */
	SHAPE_STEADY,      /* growth_judge() says so */
	SHAPE_WARM_UP,     /* it grew, ever more slowly, and has ended growing */
	SHAPE_SAW_TOOTH,   /* it grows and falls back, again and again */
	SHAPE_LEVEL_SHIFT, /* one step between two levels */
	SHAPE_UNCLEAR,     /* none of these */
};

/* "waiting", "flat", "steady", "warm-up", "saw-tooth", "level shift", "unclear" */
extern const char *const shape_names[];

/* Times in µs, strictly ascending. */
enum shape shape_judge(const int64_t *times_us, const int64_t *values, size_t n);
