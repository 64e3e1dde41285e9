# The direction of the house: a file includes only from its own floor or one below. heap and analysis make no system calls.
BEGIN {
	count = split("base symbols daemon/target daemon/heap daemon/analysis daemon/store daemon/source daemon/server tui", order, " ")
	for (i = 1; i <= count; i++)
		rank[order[i]] = i
}
function floor_of(path,   parts) {
	split(path, parts, "/")
	return parts[1] == "daemon" ? parts[1] "/" parts[2] : parts[1]
}
function complain(why) {
	printf "%s:%d: %s\n", FILENAME, FNR, why > "/dev/stderr"
	failed = 1
}
/^[ \t]*#[ \t]*include[ \t]*["<]/ {
	split($0, quoted, /["<>]/)
	included = quoted[2]
	here = floor_of(FILENAME)
	if (!(here in rank))
		complain("this file is on no floor: " here)
	pure = here == "daemon/heap" || here == "daemon/analysis"
	if (pure && included ~ /^(unistd\.h|fcntl\.h|sys\/|dirent\.h)/ && included != "sys/types.h")
		complain(here " makes no system calls, but includes <" included ">")
	if ($0 !~ /"/)
		next
	there = floor_of(included)
	if (!(there in rank))
		complain("includes are written from the root of the repository: \"" included "\"")
	else if (rank[there] > rank[here] || (pure && there == "daemon/target"))
		complain(here " may not include from " there ": \"" included "\"")
}
END { exit failed }
