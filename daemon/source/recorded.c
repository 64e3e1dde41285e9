#include "daemon/source/recorded.h"

#include "base/error.h"
#include "daemon/store/recording.h"

struct recorded {
	source_t source;
	recording_t *recording;
	int64_t last; /* number of the sample given out last; 0: none yet */
};

static sample_t *recorded_next(source_t *source, GError **error)
{
	struct recorded *recorded = (struct recorded *)source;
	int64_t id = recording_after(recorded->recording, recorded->last);
	if (!id) {
		error_set(error, SOURCE_ERROR, REFTOP_ERROR_GONE, NULL, NULL, "the recording is at its end");
		return NULL;
	}
	sample_t *sample = recording_load(recorded->recording, id, error);
	if (sample)
		recorded->last = id;
	return sample;
}

static gboolean recorded_alive(source_t *source)
{
	struct recorded *recorded = (struct recorded *)source;
	return recording_after(recorded->recording, recorded->last) != 0;
}

static GArray *recorded_moments(source_t *source, GError **error)
{
	struct recorded *recorded = (struct recorded *)source;
	size_t n = 0;
	g_autofree int64_t *ids = recording_samples(recorded->recording, &n, error);
	if (!ids)
		return NULL;
	GArray *moments = g_array_sized_new(FALSE, FALSE, sizeof(struct source_moment), (guint)n);
	for (size_t i = 0; i < n; i++) {
		struct source_moment moment = {ids[i], recording_time(recorded->recording, ids[i])};
		g_array_append_val(moments, moment);
	}
	return moments;
}

static sample_t *recorded_load(source_t *source, int64_t id, GError **error)
{
	return recording_load(((struct recorded *)source)->recording, id, error);
}

static void recorded_free(source_t *source)
{
	struct recorded *recorded = (struct recorded *)source;
	recording_free(recorded->recording);
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

source_t *source_recorded_new(const char *path, GError **error)
{
	recording_t *recording = recording_open(path, error);
	if (!recording)
		return NULL;
	struct recorded *recorded = g_new0(struct recorded, 1);
	recorded->source.ops = &recorded_ops;
	recorded->recording = recording;
	return &recorded->source;
}
