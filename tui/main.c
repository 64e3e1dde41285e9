#include <stdio.h>

int main(void)
{
	fputs("reftop: no commands in this build\n", stderr);
	return 2;
}
