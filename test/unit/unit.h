/*
 * What every unit test includes first: cmocka and what it needs, in its order.
 */
#ifndef ZB_TEST_UNIT_H
#define ZB_TEST_UNIT_H

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#endif
