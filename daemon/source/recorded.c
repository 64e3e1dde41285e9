#include "daemon/source/recorded.h"

#include "base/error.h"

struct recorded {
	source_t source;
	archive_t *archive;
	int64_t last; /* number of the sample given out last; 0: none yet */
};

static sample_t *recorded_next(source_t *source, GError **error)
{
	struct recorded *recorded = (struct recorded *)source;
	int64_t id = archive_after(recorded->archive, recorded->last);
	if (!id) {
		error_set(error, SOURCE_ERROR, REFTOP_ERROR_GONE, NULL, NULL, "the recording is at its end");
		return NULL;
	}
	sample_t *sample = archive_load(recorded->archive, id, error);
	if (sample)
		recorded->last = id;
	return sample;
}

static gboolean recorded_alive(source_t *source)
{
	struct recorded *recorded = (struct recorded *)source;
	return archive_after(recorded->archive, recorded->last) != 0;
}

static GArray *recorded_moments(source_t *source, GError **error)
{
	struct recorded *recorded = (struct recorded *)source;
	size_t n = 0;
	g_autofree int64_t *ids = archive_samples(recorded->archive, &n, error);
	if (!ids)
		return NULL;
	GArray *moments = g_array_sized_new(FALSE, FALSE, sizeof(struct source_moment), (guint)n);
	for (size_t i = 0; i < n; i++) {
		struct source_moment moment = {ids[i], archive_time(recorded->archive, ids[i])};
		g_array_append_val(moments, moment);
	}
	return moments;
}

static sample_t *recorded_load(source_t *source, int64_t id, GError **error)
{
	return archive_load(((struct recorded *)source)->archive, id, error);
}

static void recorded_free(source_t *source)
{
	struct recorded *recorded = (struct recorded *)source;
	archive_free(recorded->archive);
	g_free(recorded);
}

static const struct source_ops recorded_ops = {
	.name = "recording",
	.next = recorded_next,
	.alive = recorded_alive,
	.free = recorded_free,
	.moments = recorded_moments,
	.load = recorded_load,
};

source_t *source_recorded_of(archive_t *archive)
{
	struct recorded *recorded = g_new0(struct recorded, 1);
	recorded->source.ops = &recorded_ops;
	recorded->archive = archive;
	return &recorded->source;
}

source_t *source_recorded_new(const char *path, GError **error)
{
	archive_t *archive = archive_open(path, error);
	return archive ? source_recorded_of(archive) : NULL;
}
