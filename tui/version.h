#pragma once
#define REFTOP_VERSION "0.1.0"
