/*
 * Forced in front of every file of ours (-include, meson.build): functions that write without a
 * bound or keep hidden state do not compile. The headers that declare them come first.
 */
#ifndef ZB_BASE_POISON_H
#define ZB_BASE_POISON_H

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#pragma GCC poison strcpy strcat sprintf gets strtok

#endif
