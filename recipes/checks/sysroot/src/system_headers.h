#pragma once
void system_headers();
