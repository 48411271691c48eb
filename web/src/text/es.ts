import { english } from "./en";
import type { Text } from "./text";

export const spanish: Text = english;
