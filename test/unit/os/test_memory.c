/* Stacks of threads that once went deep. */
#include "unit.h"

#include <pthread.h>
#include <stdint.h>
#include <sys/mman.h>
#include <unistd.h>

#include "os/memory.h"

#define STACK_BYTES (256u << 10)
#define DEEP_BYTES (96u << 10)

struct seen {
    size_t deep_pages, left_pages;
    int sum; /* of what the caller has on its stack */
};

static size_t
resident_pages(void *low, size_t size)
{
    size_t page = (size_t)sysconf(_SC_PAGESIZE);
    unsigned char pages[STACK_BYTES / 4096];
    size_t count = 0;

    assert_int_equal(mincore(low, size, pages), 0);
    for (size_t i = 0; i < size / page; i++) {
        count += pages[i] & 1u;
    }
    return count;
}

static void __attribute__((noinline)) go_deep(void)
{
    volatile char deep[DEEP_BYTES];

    for (size_t i = 0; i < sizeof deep; i += 1024) {
        deep[i] = 1;
    }
}

static void *
thread(void *arg)
{
    struct seen *seen = arg;
    volatile int own[64];
    pthread_attr_t attr;
    void *low;
    size_t size;

    for (int i = 0; i < 64; i++) {
        own[i] = i;
    }
    assert_int_equal(pthread_getattr_np(pthread_self(), &attr), 0);
    assert_int_equal(pthread_attr_getstack(&attr, &low, &size), 0);
    (void)pthread_attr_destroy(&attr);
    go_deep();
    seen->deep_pages = resident_pages(low, size);
    zb_os_memory_stack_free();
    seen->left_pages = resident_pages(low, size);
    for (int i = 0; i < 64; i++) {
        seen->sum += own[i];
    }
    return NULL;
}

static void
what_deep_calls_left_is_given_back(void **state)
{
    struct seen seen = {0};
    pthread_attr_t attr;
    pthread_t id;
    (void)state;

    assert_int_equal(pthread_attr_init(&attr), 0);
    assert_int_equal(pthread_attr_setstacksize(&attr, STACK_BYTES), 0);
    assert_int_equal(pthread_create(&id, &attr, thread, &seen), 0);
    assert_int_equal(pthread_join(id, NULL), 0);
    (void)pthread_attr_destroy(&attr);
    assert_true(seen.deep_pages >= DEEP_BYTES / 4096);
    assert_true(seen.left_pages + DEEP_BYTES / 4096 / 2 < seen.deep_pages);
    assert_int_equal(seen.sum, 63 * 64 / 2);
}

int
main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(what_deep_calls_left_is_given_back),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
