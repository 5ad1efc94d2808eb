"""Videos: every frame restored, its time kept, everything else copied. restore_video is in
restora.video.restore."""
