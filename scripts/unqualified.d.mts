/** The functions and operators that a statement leaves to the search_path. */
export declare function unqualified(statement: string): string[];
