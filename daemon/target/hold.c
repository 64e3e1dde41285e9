#include "daemon/target/hold.h"

#include <unistd.h>

static const struct hold_lock *lock_at(const GArray *locks, guint i)
{
	return &g_array_index(locks, struct hold_lock, i);
}

static bool word_seen(const GArray *locks, guint n, uint64_t word)
{
	for (guint i = 0; i < n; i++) {
		if (lock_at(locks, i)->word == word)
			return true;
	}
	return false;
}

static pid_t word_names(const GArray *locks, int mem, uint64_t word)
{
	uint64_t value;
	if (!word || pread(mem, &value, sizeof(value), (off_t)word) != sizeof(value))
		return 0;
	for (guint i = 0; i < locks->len; i++) {
		if (lock_at(locks, i)->word == word && lock_at(locks, i)->value == value)
			return lock_at(locks, i)->tid;
	}
	return 0;
}

GArray *hold_threads(const GArray *locks, int mem)
{
	g_autoptr(GArray) tids = g_array_new(FALSE, FALSE, sizeof(pid_t));
	for (guint i = 0; i < locks->len; i++) {
		uint64_t word = lock_at(locks, i)->word;
		if (word_seen(locks, i, word))
			continue;
		pid_t tid = word_names(locks, mem, word);
		if (!tid)
			return NULL;
		g_array_append_val(tids, tid);
	}
	return tids->len ? g_steal_pointer(&tids) : NULL;
}

bool hold_stands(const GArray *locks, int mem, const GArray *tids)
{
	g_autoptr(GArray) now = hold_threads(locks, mem);
	if (!now || now->len != tids->len)
		return false;
	for (guint i = 0; i < now->len; i++) {
		if (g_array_index(now, pid_t, i) != g_array_index(tids, pid_t, i))
			return false;
	}
	return true;
}
