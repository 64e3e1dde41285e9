/* Scripted workers, and sums of them, a second apart: the fourth leaks ten objects a second. */
#pragma once
#include "daemon/analysis/sum.h"
#include "tests/unit/script.h"

/* A worker with so many objects of the class in question, `i` seconds after the start. */
G_GNUC_UNUSED static sample_t *worker_sample(int i, int64_t leaky)
{
	sample_t *sample = sample_new();
	sample->time_us = START + (gint64)i * G_USEC_PER_SEC;
	sample->target.python = sample_text(sample, "3.12.1");
	sample->target.rss = 10 << 20;
	sample->snapshot.mode = "stop";
	sample->snapshot.consistent = true;
	sample->snapshot.coverage = "all";
	sample->snapshot.pause_us = 1000 + 10 * i;
	sample->snapshot.elapsed_us = 8000;
	sample->snapshot.bytes_copied = 4 << 20;
	sample->types = g_new0(struct sample_type, 8);
	add_type(sample, 0x55d0c0a01000 + (uint64_t)(leaky % 7) * 0x1000, "app", "Leaky", leaky, 48, 2, 3);
	add_type(sample, 0x955aa0, "builtins", "dict", 40, 184, 2, 907);
	add_type(sample, 0x955bc0, "builtins", "list", 20 + (leaky * 7 + i) % 5, 96, 1, 44);
	sample_seal(sample);
	return sample;
}

G_GNUC_UNUSED static struct sample_part part_of(int64_t pid, sample_t *sample, gboolean fresh)
{
	return (struct sample_part){.pid = pid,
				    .start_time_us = START - 60 * G_USEC_PER_SEC,
				    .command = "/usr/bin/python3 worker.py --queue orders",
				    .sample = sample,
				    .fresh = fresh};
}

/* The sum of `n` workers, pids from 1000. */
G_GNUC_UNUSED static sample_t *workers_sum(int i, int n)
{
	struct sample_part parts[16] = {0};
	g_assert_cmpint(n, <=, 16);
	for (int k = 0; k < n; k++)
		parts[k] = part_of(1000 + k, worker_sample(i, 1000 + (k == 3 ? 10 * i : 0)), TRUE);
	sample_t *sum = sum_make(parts, (size_t)n, START + (gint64)i * G_USEC_PER_SEC);
	for (int k = 0; k < n; k++)
		sample_unref(parts[k].sample);
	return sum;
}
