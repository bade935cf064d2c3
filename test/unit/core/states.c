/* Prints doc/states.md from the table: what is documented is what runs. */
#include <stdio.h>

#include "core/table.h"

int
main(void)
{
    printf("# Roles of a node for one service\n\n"
           "Made from `src/core/table.c` by `states`; a test fails when they differ. A stimulus "
           "that is not "
           "listed for a role is ignored there, or cannot happen (then it is an assertion).\n");
    for (int r = 0; r < ZB_ROLE_COUNT; r++) {
        printf("\n## %s\n\n| stimulus | next role | rule | reason |\n|---|---|---|---|\n",
               zb_role_word((enum zb_role)r));
        for (int s = 0; s < ZB_STIM_COUNT; s++) {
            const struct zb_cell *c = &zb_core_table[r][s];
            if (c->kind == ZB_CELL_GO) {
                printf("| %s | %s | `%s` | %s |\n", zb_stim_word((enum zb_stim)s),
                       zb_role_word(c->next), c->rule, c->reason);
            }
        }
    }
    return 0;
}
